import fc from 'fast-check'
import { Edu, HostMemory, mtty, SoftwareHost, type FileHandle } from 'vfio'
import { IOCTL } from 'vfio/uapi'
import { expect, it } from 'vitest'
import { answerOf, s32 } from './files.ts'

const EDU = '0000:00:04.0'
const UUID = '11111111-2222-3333-4444-555555555502'

/** A machine with an edu and an mtty, and a process that has everything of both open. */
function machine(emulated: boolean) {
  const host = new SoftwareHost()
  host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })
  host.mdev.registerParent('mtty', mtty())
  host.sysfs.write('/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create', UUID)
  const process = host.process()
  const link = emulated ? `/sys/bus/mdev/devices/${UUID}` : `/sys/bus/pci/devices/${EDU}`
  const number = host.sysfs.readlink(`${link}/iommu_group`).split('/').at(-1) ?? ''
  const container = process.open('/dev/vfio/vfio')
  const group = process.open(`/dev/vfio/${number}`)
  group.ioctl('VFIO_GROUP_SET_CONTAINER', s32(container.fd))
  container.ioctl('VFIO_SET_IOMMU', 3n)
  const device = process.file(group.ioctl('VFIO_GROUP_GET_DEVICE_FD', emulated ? UUID : EDU))
  const event = process.eventfd()
  const memory = HostMemory.allocate(0x10000)
  const address = process.map(memory)
  return { host, process, container, group, device, event, memory, address, number }
}

const requests = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...Object.values(IOCTL)) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
)
const word = fc.oneof(
  fc.nat({ max: 0x50 }),
  fc.constantFrom(0x1000, 0x10000, 0x20000, 0x30000, 0x40002, 0xffff_ffff),
  fc.nat({ max: 0xffff_ffff }),
)
const argument = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.array(word, { maxLength: 24 }).map((words) => new Uint8Array(Uint32Array.from(words).buffer)),
  },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) },
  { weight: 1, arbitrary: fc.constant('memory' as const) },
)

interface MapCall {
  request: 'VFIO_IOMMU_MAP_DMA' | 'VFIO_IOMMU_UNMAP_DMA'
  flags: number
  page: number
  iova: number
  pages: number
  slip: number
}

/** MAP_DMA and UNMAP_DMA as programs send them, now and then with a slip. */
const mapping: fc.Arbitrary<MapCall> = fc.record({
  request: fc.constantFrom('VFIO_IOMMU_MAP_DMA', 'VFIO_IOMMU_UNMAP_DMA'),
  flags: fc.constantFrom(0, 1, 2, 3, 4, 7, 8),
  page: fc.nat({ max: 15 }),
  iova: fc.nat({ max: 20 }),
  pages: fc.nat({ max: 4 }),
  slip: fc.constantFrom(0, 0, 0, 0, 1, 0x800),
})

type Step =
  | { kind: 'call'; fd: number; requests: number; argument: Uint8Array | bigint | 'memory' }
  | { kind: 'map'; mapping: MapCall }
  | { kind: 'access'; write: boolean; region: number; offset: number | bigint; length: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('call' as const), fd: fc.nat({ max: 3 }), requests, argument }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('map' as const), mapping }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('access' as const),
      write: fc.boolean(),
      region: fc.nat({ max: 10 }),
      offset: fc.oneof(fc.nat({ max: 0x110 }), fc.bigInt({ min: 0n, max: (1n << 40n) - 1n })),
      length: fc.nat({ max: 20 }),
    }),
  },
)

function mapBytes(map: MapCall, address: bigint): Uint8Array {
  const maps = map.request === 'VFIO_IOMMU_MAP_DMA'
  const bytes = new Uint8Array(maps ? 32 : 24)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.byteLength, true)
  view.setUint32(4, map.flags, true)
  const iova = BigInt(map.iova * 0x1000 + map.slip)
  const rest = maps
    ? [address + BigInt(map.page * 0x1000), iova, BigInt(map.pages * 0x1000)]
    : [iova, BigInt(map.pages * 0x1000)]
  rest.forEach((value, i) => view.setBigUint64(8 + i * 8, value, true))
  return bytes
}

for (const emulated of [false, true]) {
  it(`a machine with ${emulated ? 'a mediated' : 'a PCI'} device survives whatever a process sends it`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { host, process, container, group, device, event, memory, address, number } = machine(emulated)
        const files: FileHandle[] = [container, group, device, event]
        const play = (item: Step): number | undefined => {
          if (item.kind === 'map') {
            return answerOf(() => container.ioctl(item.mapping.request, mapBytes(item.mapping, address)))
          }
          if (item.kind === 'call') {
            const source = item.argument === 'memory' ? address : item.argument
            return answerOf(() => files[item.fd]?.ioctl(item.requests, source))
          }
          const at = (BigInt(item.region) << 40n) + BigInt(item.offset)
          const bytes = new Uint8Array(item.length)
          return answerOf(() => (item.write ? device.write(bytes, at) : device.read(bytes, at)))
        }
        for (const item of steps) {
          const locked = process.lockedVm
          const ret = play(item)
          expect(ret === undefined ? process.lockedVm : locked).toBe(locked)
        }
        process.exit()
        expect(process.lockedVm).toBe(0n)
        const successor = host.process()
        successor.open(`/dev/vfio/${number}`).close()
        successor.exit()
        memory.close()
        host.close()
      }),
      { numRuns: 60 },
    )
  })
}
