import fc from 'fast-check'
import { expect, it } from 'vitest'
import { checkIrqSet } from '../../ts/device/irq-set.ts'
import { EventFdFile } from '../../ts/files/eventfd-file.ts'
import { makePipe } from '../../ts/files/pipe-file.ts'
import { IOCTL } from '../../ts/uapi/ioctl.ts'
import { answerOf, TestFiles, s32 } from './files.ts'

const requests = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...Object.values(IOCTL)) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
)

/** Little structures: mostly small words, so that sizes, flags and descriptors are often sensible. */
const words = fc
  .array(
    fc.oneof(
      fc.nat({ max: 40 }),
      fc.constantFrom(0x10000, 0x20000, 0xffff_ffff, 0xffff_fffe),
      fc.nat({ max: 0xffff_ffff }),
    ),
    { maxLength: 24 },
  )
  .map((list) => new Uint8Array(Uint32Array.from(list).buffer))

const source = fc.oneof(
  { weight: 4, arbitrary: words },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 64 }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) },
  { weight: 1, arbitrary: fc.constantFrom(0n, 1n, 3n, 8n) },
  { weight: 1, arbitrary: fc.string({ maxLength: 20 }) },
)

const calls = fc.array(fc.tuple(fc.integer({ min: 2, max: 9 }), requests, source), { minLength: 1, maxLength: 30 })

function machine(started: boolean): TestFiles {
  const files = new TestFiles({
    reset: () => {},
    setIrqs: (request) => {
      const { bools, eventfds } = checkIrqSet(request, 4, 2)
      void bools
      for (let i = 0; i < (eventfds?.length ?? 0); i++) if (eventfds?.fd(i) !== -1) eventfds?.get(i)
    },
    hotReset: { affected: () => [{ group: 0, segment: 0, bus: 0, devfn: 0, bound: true }], reset: () => {} },
    ioeventfd: () => {},
  })
  if (started) files.start()
  files.process.install(new EventFdFile())
  const { read, write } = makePipe()
  files.process.install(read)
  files.process.install(write)
  return files
}

/** What a failed call must leave alone. */
function state(files: TestFiles): unknown {
  const { vfioGroup, vfioDevice, process, machine } = files
  return [
    vfioGroup.attached,
    vfioGroup.viable,
    vfioDevice.openCount,
    [...process.files.keys()],
    machine.driver.diary.length,
  ]
}

it('any bytes through any request of any file are answered, and a refusal changes nothing', () => {
  fc.assert(
    fc.property(fc.boolean(), calls, (started, sequence) => {
      const files = machine(started)
      for (const [fd, request, argument] of sequence) {
        const before = state(files)
        const source = argument instanceof Uint8Array ? argument.slice() : argument
        const ret = answerOf(() => files.ioctl(fd, request, source))
        expect(ret === undefined || (Number.isInteger(ret) && ret >= 0)).toBe(true)
        expect(ret === undefined ? state(files) : before).toEqual(before)
      }
      for (const fd of [...files.process.files.keys()]) files.process.remove(fd)
      expect(files.vfioDevice.openCount).toBe(0)
      expect(files.vfioGroup.attached).toBe(false)
    }),
    { numRuns: 400 },
  )
})

it('any reads and writes at any position of any file are answered', () => {
  const position = fc.option(fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }), { nil: undefined })
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 3, max: 8 }), fc.boolean(), position, fc.nat({ max: 64 }))),
      (sequence) => {
        const files = machine(true)
        for (const [fd, reads, at, length] of sequence) {
          const file = files.process.file(fd)
          const bytes = new Uint8Array(length)
          const done = answerOf(() =>
            reads ? file?.read?.(files.process, bytes, at) : file?.write?.(files.process, bytes, at),
          )
          expect(done === undefined || (done >= 0 && done <= length)).toBe(true)
        }
      },
    ),
    { numRuns: 200 },
  )
})

it('a group goes in and out of containers without a trace', () => {
  const files = new TestFiles()
  for (let i = 0; i < 100; i++) {
    files.ioctl(files.group, 'VFIO_GROUP_SET_CONTAINER', s32(files.container))
    files.ioctl(files.container, 'VFIO_SET_IOMMU', BigInt(i % 2 === 0 ? 1 : 3))
    files.ioctl(files.group, 'VFIO_GROUP_UNSET_CONTAINER')
  }
  expect(files.vfioGroup.iommuGroup.dmaOwnerClaimed).toBe(false)
  expect(files.machine.driver.diary.filter((line) => line === 'release')).toHaveLength(100)
})
