/** Whatever the callbacks of a device or driver give or throw: the caller is told, nothing else breaks, nothing is left behind. */
import fc from 'fast-check'
import { HostMemory, SoftwareHost, VFIO_TYPE1v2_IOMMU, type MdevParentOptions, type VfioDeviceOps } from 'vfio'
import { IOCTL } from 'vfio/uapi'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'

const escaped: unknown[] = []
const escape = (error: unknown): void => void escaped.push(error)

beforeEach(() => {
  escaped.length = 0
  process.on('uncaughtException', escape)
  process.on('unhandledRejection', escape)
  vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
})

afterEach(() => {
  process.off('uncaughtException', escape)
  process.off('unhandledRejection', escape)
  vi.restoreAllMocks()
})

const JUNK: readonly unknown[] = [
  ...[undefined, null, true, 0, -1, 1.5, Number.NaN, 2 ** 40, 7n, -1n, 1n << 70n, '', 'EINVAL', Symbol('junk')],
  ...[
    {},
    [],
    [null],
    new Uint8Array(3),
    () => 1,
    new Error('junk'),
    { flags: 'x' },
    { flags: 0, size: 1, offset: -1n },
  ],
  ...[
    { flags: 0, numRegions: 1e9, numIrqs: -1 },
    { flags: 0, count: 2 ** 31 },
    { vfioDevice: () => 7 },
    Object.create(null),
  ],
]
const CALLBACKS: readonly (keyof VfioDeviceOps)[] = [
  ...(['init', 'release', 'openDevice', 'closeDevice', 'getInfo', 'getRegionInfo', 'getIrqInfo', 'setIrqs'] as const),
  ...(['reset', 'read', 'write', 'mmap', 'ioeventfd', 'hotReset', 'ioctl', 'deviceFeature', 'migration'] as const),
  ...(['dmaLogging', 'request', 'match', 'dmaUnmap', 'bindIommufd', 'unbindIommufd', 'attachIoas'] as const),
  ...(['detachIoas', 'passThrough'] as const),
]

type Answer = { how: 'return' | 'throw' | 'resolve' | 'reject'; what: unknown }
const answer: fc.Arbitrary<Answer> = fc.record({
  how: fc.constantFrom('return', 'return', 'throw', 'resolve', 'reject'),
  what: fc.constantFrom(...JUNK),
})

function act({ how, what }: Answer): unknown {
  if (how === 'throw') throw what
  if (how === 'resolve') return Promise.resolve(what)
  return how === 'reject' ? Promise.reject(what) : what
}

/** Callbacks that may answer later; of the others a promise that is rejected is nobody's, as everywhere in Node. */
const LATER: ReadonlySet<string> = new Set(['read', 'write'])

/** A device that answers sensibly but for some callbacks. */
function device(answers: ReadonlyMap<string, Answer>): VfioDeviceOps {
  const ops: Record<string, unknown> = {
    name: 'junk',
    getInfo: () => ({ flags: 0, numRegions: 1, numIrqs: 1 }),
    getRegionInfo: () => ({ flags: 3, size: 4096n, offset: 0n }),
    getIrqInfo: () => ({ flags: 1, count: 1 }),
    setIrqs: () => {},
    read: (_region: number, _offset: bigint, into: Uint8Array) => into.byteLength,
    write: (_region: number, _offset: bigint, from: Uint8Array) => from.byteLength,
  }
  for (const [name, { how, what }] of answers) {
    const given: Answer = { how: how === 'reject' && !LATER.has(name) ? 'throw' : how, what }

    ops[name] = name === 'migration' || name === 'hotReset' || name === 'dmaLogging' ? given.what : () => act(given)
  }
  return ops as unknown as VfioDeviceOps
}

function attempt(run: () => unknown): unknown {
  try {
    const answered = run()
    if (answered instanceof Promise) answered.catch(() => {})
    return answered
  } catch {
    return undefined // any error may leave; the caller has it
  }
}

/** Uses everything that a device has, through both doors. */
async function use(host: SoftwareHost): Promise<void> {
  const mdev = attempt(() => host.mdev.create('junk-one')) as ReturnType<typeof host.mdev.create> | undefined
  if (mdev?.group === undefined) return
  const number = host.groupOf(mdev.uuid).number
  using container = host.openContainer()
  using group = host.openGroup(number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  container.mapDma({ iova: 0, memory: HostMemory.allocate(4096), read: true, write: true })
  const handle = attempt(() => group.getDevice(mdev.uuid)) as ReturnType<typeof group.getDevice> | undefined
  if (handle !== undefined) {
    const calls: readonly (() => unknown)[] = [
      () => handle.info(),
      () => handle.regions().map((region) => region.capabilities),
      () => handle.irqs().map((irq) => irq.enable(1).close()),
      () => handle.reset(),
      () => handle.region(0).readU32(0),
      () => handle.region(0).read(0, 16),
      () => handle.region(0).readAsync(0, 16),
      () => handle.region(0).writeU32(0, 1),
      () => handle.region(0).writeAsync(0, new Uint8Array(4)),
      () => handle.region(0).mmap().close(),
      () => handle.hotResetInfo(),
      () => handle.hotReset([group]),
      () => handle.migration.setState(3),
      () => handle.features.get(2, 8),
      () => handle.dmaLogging.start([{ iova: 0, length: 4096 }]),
      () => container.unmapAll(),
    ]
    for (const call of calls) attempt(call)
    handle.close()
  }
  group.close()
  const process = host.process()
  const file = attempt(() => process.open(`/dev/vfio/${number}`)) as ReturnType<typeof process.open> | undefined
  if (file !== undefined) {
    const box = process.open('/dev/vfio/vfio')
    attempt(() => file.ioctl('VFIO_GROUP_SET_CONTAINER', new Uint8Array(Int32Array.of(box.fd).buffer)))
    attempt(() => box.ioctl('VFIO_SET_IOMMU', VFIO_TYPE1v2_IOMMU))
    const fd = attempt(() => file.ioctl('VFIO_GROUP_GET_DEVICE_FD', mdev.uuid))
    if (typeof fd === 'number') {
      const open = process.file(fd)
      for (const request of Object.values(IOCTL))
        attempt(() => open.ioctl(request, Uint8Array.of(64, ...new Uint8Array(63))))
      attempt(() => open.read(new Uint8Array(8), 0))
      attempt(() => open.write(new Uint8Array(8), 0))
      attempt(() => open.mmap({ length: 4096 }))
    }
  }
  process.exit()
  attempt(() => mdev.remove())
  await new Promise((resolve) => setImmediate(resolve))
}

it('a device that answers nonsense', { timeout: 120_000 }, async () => {
  const answers = fc.uniqueArray(fc.tuple(fc.constantFrom(...CALLBACKS), answer), {
    maxLength: 4,
    selector: ([name]) => name,
  })
  await fc.assert(
    fc.asyncProperty(answers, async (given) => {
      const host = new SoftwareHost()
      host.mdev.registerParent('junk', { types: [{ name: 'one' }], probe: () => device(new Map(given)) })
      await use(host)
      host.close()
      await new Promise((resolve) => setImmediate(resolve))
      const left = escaped.splice(0)
      expect(left).toEqual([])
      expect(host.closed).toBe(true)
    }),
    { numRuns: Number(process.env['VFIO_TEST_RUNS'] ?? 60) },
  )
})

it('a driver that answers nonsense', { timeout: 120_000 }, async () => {
  const names = ['probe', 'remove', 'removing', 'getAvailable', 'showDescription'] as const
  const answers = fc.uniqueArray(fc.tuple(fc.constantFrom(...names), answer), {
    maxLength: 3,
    selector: ([name]) => name,
  })
  await fc.assert(
    fc.asyncProperty(answers, async (given) => {
      const host = new SoftwareHost()
      const callbacks = Object.fromEntries(
        given.map(([name, each]) => [name, () => act(each.how === 'reject' ? { ...each, how: 'throw' } : each)]),
      )
      const options = {
        types: [{ name: 'one' }],
        probe: () => device(new Map()),
        ...callbacks,
      } as unknown as MdevParentOptions
      host.mdev.registerParent('junk', options)
      const types = '/sys/class/mdev_bus/junk/mdev_supported_types/junk-one'
      for (const attribute of ['available_instances', 'description', 'name'])
        attempt(() => host.sysfs.read(`${types}/${attribute}`))
      attempt(() => host.sysfs.write(`${types}/create`, '11111111-2222-3333-4444-555555555555'))
      await use(host)
      host.close()
      await new Promise((resolve) => setImmediate(resolve))
      expect(escaped.splice(0)).toEqual([])
      expect(host.closed).toBe(true)
    }),
    { numRuns: Number(process.env['VFIO_TEST_RUNS'] ?? 60) },
  )
})
