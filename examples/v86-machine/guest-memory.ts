/** RAM of a v86 machine as memory for DMA. */
import { HostMemory, isErrno, type Container } from 'vfio'
import type { Cpu } from './v86-inside.ts'

/** The PC's hole for video memory and firmware, which devices do not reach. */
const HOLE_START = 0xa0000
const HOLE_END = 0x100000
const PAGE = 4096

/**
 * The RAM of a machine, mapped at the addresses where the guest sees it.
 *
 * v86 keeps RAM in a `WebAssembly.Memory` that grows as the machine boots: each time its `ArrayBuffer` is detached. So the
 * memory itself is mapped, not its buffer; it is asked for its present buffer at each access.
 */
export class GuestMemory {
  readonly #cpu: Cpu
  readonly #container: Container
  readonly #size: number
  readonly #memory: HostMemory

  /** Maps RAM into a container, whose devices reach it from then on. @throws {VfioError} as `container.mapDma` */
  constructor(cpu: Cpu, container: Container) {
    this.#cpu = cpu
    this.#container = container
    this.#size = cpu.memory_size[0] ?? 0
    this.#memory = HostMemory.from(cpu.wasm_memory, { offset: cpu.mem8.byteOffset, length: this.#size })
    for (const [iova, end] of this.#ranges()) {
      container.mapDma({ iova, memory: this.#memory, offset: iova, length: end - iova, read: true, write: true })
    }
    container.dirty.start()
  }

  /** Bytes of RAM. */
  get size(): number {
    return this.#size
  }

  /**
   * Has v86 forget what it compiled of pages that devices may have written since the last time: v86 notices when the guest's
   * processor writes into code, and cannot notice DMA.
   *
   * Of mediated devices the IOMMU knows which pages those are. With a device of vfio-pci in the container it says
   * "all of them", as version 2 of the type1 IOMMU does; then all compiled code is forgotten.
   */
  forgetStaleCode(): void {
    const length = Math.ceil(this.#size / PAGE) * PAGE
    const bitmap = this.#container.dirty.bitmap({ iova: 0, length, pageSize: PAGE })
    for (const [first, end] of runsOf(bitmap)) {
      this.#cpu.jit_dirty_cache(first * PAGE, Math.min(end * PAGE, this.#size))
    }
  }

  /** Takes RAM away from the devices (idempotent). */
  close(): void {
    try {
      this.#container.dirty.stop()
      for (const [iova, end] of this.#ranges()) this.#container.unmapDma({ iova, length: end - iova })
    } catch (error) {
      if (!isErrno(error)) throw error // a container that was closed has no mappings any more
    } finally {
      this.#memory.close()
    }
  }

  #ranges(): [start: number, end: number][] {
    const low = Math.min(this.#size, HOLE_START)
    return this.#size > HOLE_END ? [[0, low], [HOLE_END, this.#size]] : [[0, low]] // prettier-ignore
  }
}

/** The runs of ones in a bitmap, each from its first bit to the one behind its last. */
function* runsOf(bitmap: Uint8Array): Generator<[first: number, end: number]> {
  const words = new Uint32Array(bitmap.buffer, bitmap.byteOffset, bitmap.byteLength / 4)
  let first = -1
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? 0
    if (word === (first < 0 ? 0 : 0xffff_ffff)) continue // nothing begins or ends here
    for (let bit = 0; bit < 32; bit++) {
      const one = ((word >>> bit) & 1) === 1
      if (one && first < 0) first = at * 32 + bit
      if (!one && first >= 0) {
        yield [first, at * 32 + bit]
        first = -1
      }
    }
  }
  if (first >= 0) yield [first, words.length * 32]
}
