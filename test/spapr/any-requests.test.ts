import fc from 'fast-check'
import { expect, it } from 'vitest'
import { HostMemory, type FileHandle, type HostProcess, type SoftwareHost } from '../../ts/index.ts'
import { DEVICE, PAGE, powerHost } from './machines.ts'

const REQUESTS = [
  'VFIO_IOMMU_MAP_DMA',
  'VFIO_IOMMU_UNMAP_DMA',
  'VFIO_IOMMU_ENABLE',
  'VFIO_IOMMU_DISABLE',
  'VFIO_IOMMU_SPAPR_TCE_GET_INFO',
  'VFIO_IOMMU_SPAPR_REGISTER_MEMORY',
  'VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY',
  'VFIO_IOMMU_SPAPR_TCE_CREATE',
  'VFIO_IOMMU_SPAPR_TCE_REMOVE',
  'VFIO_EEH_PE_OP',
] as const

/** Numbers that mean something now and then: addresses of the buffer and of windows, sizes, shifts, and anything. */
const word = (vaddr: bigint): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.nat({ max: 16 }).map((pages) => vaddr + BigInt(pages * PAGE)),
    fc.nat({ max: 16 }).map((pages) => BigInt(pages * PAGE)),
    fc.nat({ max: 16 }).map((pages) => (1n << 59n) + BigInt(pages * PAGE)),
    fc.constantFrom(1n << 31n, 1n << 36n, 0x1_0000_0001n, 0x1_0000_000cn, 0x1_0000_0010n, 1n << 16n),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  )

function start(host: SoftwareHost, model: number): { process: HostProcess; container: FileHandle; vaddr: bigint } {
  const process = host.process()
  const container = process.open('/dev/vfio/vfio')
  const group = process.open(`/dev/vfio/${host.groupOf(DEVICE).number}`)
  group.ioctl('VFIO_GROUP_SET_CONTAINER', new Uint8Array(Int32Array.of(container.fd).buffer))
  container.ioctl('VFIO_SET_IOMMU', model)
  const memory = HostMemory.allocate(8 * PAGE)
  const vaddr = process.map(memory)
  memory.close()
  return { process, container, vaddr }
}

/** What a request is answered with: a number that is not negative, or an errno. */
function answerOf(file: FileHandle, name: (typeof REQUESTS)[number], bytes: Uint8Array): string {
  try {
    return String(file.ioctl(name, bytes))
  } catch (error) {
    return String((error as { code?: unknown }).code ?? (error as Error).stack)
  }
}

it.each([
  ['powernv', 2],
  ['powernv', 7],
  ['pseries', 7],
] as const)('a %s of model %i survives any requests, and gives every charge back without leaks', (platform, model) => {
  const vaddr = 0x7f00_0000_0000n
  const request = fc.record({
    name: fc.constantFrom(...REQUESTS),
    argsz: fc.constantFrom(0, 12, 16, 24, 32, 40),
    flags: fc.constantFrom(0, 0, 0, 1, 2, 3, 4),
    words: fc.array(word(vaddr), { minLength: 4, maxLength: 4 }),
  })
  fc.assert(
    fc.property(fc.array(request, { maxLength: 25 }), (requests) => {
      using host = powerHost({ platform, spapr: { accountingLeaks: false } })
      const { process, container, vaddr: at } = start(host, model)
      expect(at).toBe(vaddr)
      for (const { name, argsz, flags, words } of requests) {
        const bytes = new Uint8Array(40)
        const view = new DataView(bytes.buffer)
        view.setUint32(0, argsz, true)
        view.setUint32(4, flags, true)
        for (const [i, value] of words.entries()) view.setBigUint64(8 + i * 8, value, true)
        expect(answerOf(container, name, bytes)).toMatch(/^([0-9]+|E[A-Z]+)$/)
      }
      process.exit()
      expect(process.lockedVm).toBe(0n)
    }),
    { numRuns: 150 },
  )
})
