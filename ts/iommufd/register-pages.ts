/** Registers of virtual IOMMUs that can be mapped in the file of their iommufd. */
import type { RegionMapping } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { RegisterPage } from './nesting.ts'

const PAGE = 4096n

/** Pages by their offset in the file; the first page of the file is never one. */
export class RegisterPages {
  readonly #pages = new Map<bigint, RegisterPage>()

  /** Gives a page its offset. */
  add(page: RegisterPage): bigint {
    let offset = PAGE
    while (this.#pages.has(offset)) offset += PAGE
    this.#pages.set(offset, page)
    return offset
  }

  /** Takes a page out; what is mapped of it reads 0 and takes no writes from now on. */
  remove(page: RegisterPage): void {
    for (const [offset, known] of this.#pages) if (known === page) this.#pages.delete(offset)
  }

  /** Maps a page. @throws {VfioError} EINVAL private, or not whole pages; EPERM to be run; ENXIO no page lies there */
  map(offset: bigint, length: bigint, access: { shared: boolean; execute: boolean }): RegionMapping {
    if (!access.shared || length % PAGE !== 0n) throw new VfioError('EINVAL', 'mmap', { address: offset })
    if (access.execute) throw new VfioError('EPERM', 'mmap', { address: offset })
    const page = this.#pages.get(offset)
    if (page === undefined || page.length !== length) {
      throw new VfioError('ENXIO', 'mmap', { address: offset, reason: 'no registers lie there' })
    }
    const register = (at: bigint, width: number): number => {
      if (width === 4 && at >= 0n && at % 4n === 0n && at < length) return Number(at)
      throw new VfioError('EFAULT', 'mmap', { address: at, reason: 'registers have 32 bits' })
    }
    const there = () => this.#pages.get(offset) === page
    return {
      length,
      read: (at, width) => BigInt(there() ? page.read(register(at, width)) >>> 0 : 0),
      write(at, width, value) {
        if (there()) page.write(register(at, width), Number(BigInt.asUintN(32, value)))
      },
      close() {},
    }
  }
}
