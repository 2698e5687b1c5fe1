/** A device's view of memory over the native one: refusals become errors, promises are kept. */
import { VfioError } from '../errors.ts'
import { DMA_READ, DMA_WRITE, type NativeDma } from '../native/addon.ts'
import { status } from '../native/syscall.ts'
import type { DmaAccess } from './ops.ts'

/** What a device reaches by DMA, through the IOMMU that it sits behind. */
export class Dma implements DmaAccess {
  readonly native: NativeDma

  constructor(native: NativeDma) {
    this.native = native
  }

  read(iova: bigint, into: Uint8Array): void {
    status(this.native.read(iova, into), 'dma_read', { address: iova })
  }

  write(iova: bigint, from: Uint8Array): void {
    status(this.native.write(iova, from), 'dma_write', { address: iova })
  }

  readU8(iova: bigint): number {
    return status(this.native.readU8(iova), 'dma_read', { address: iova })
  }

  readU16(iova: bigint): number {
    return status(this.native.readU16(iova), 'dma_read', { address: iova })
  }

  readU32(iova: bigint): number {
    return status(this.native.readU32(iova), 'dma_read', { address: iova })
  }

  readU64(iova: bigint): bigint {
    return status(this.native.readU64(iova), 'dma_read', { address: iova })
  }

  writeU8(iova: bigint, value: number): void {
    status(this.native.writeU8(iova, value), 'dma_write', { address: iova })
  }

  writeU16(iova: bigint, value: number): void {
    status(this.native.writeU16(iova, value), 'dma_write', { address: iova })
  }

  writeU32(iova: bigint, value: number): void {
    status(this.native.writeU32(iova, value), 'dma_write', { address: iova })
  }

  writeU64(iova: bigint, value: bigint): void {
    status(this.native.writeU64(iova, value), 'dma_write', { address: iova })
  }

  pinPages(iova: bigint, pages: number, access: { read?: boolean; write?: boolean }): void {
    const wanted = (access.read === true ? DMA_READ : 0) | (access.write === true ? DMA_WRITE : 0)
    status(this.native.pinPages(iova, pages, wanted), 'pin_pages', { address: iova })
  }

  unpinPages(iova: bigint, pages: number): void {
    status(this.native.unpinPages(iova, pages), 'unpin_pages', { address: iova })
  }

  async readAsync(iova: bigint, length: number): Promise<Uint8Array> {
    const into = new Uint8Array(length)
    this.read(iova, into)
    return into
  }

  async writeAsync(iova: bigint, from: Uint8Array): Promise<void> {
    this.write(iova, from)
  }
}

/** The native view behind `dma`. @throws {VfioError} EOPNOTSUPP a view that is not native */
export function nativeDma(dma: DmaAccess): NativeDma {
  if (dma.native === undefined) {
    throw new VfioError('EOPNOTSUPP', 'open', { reason: 'a native device needs a native view of memory' })
  }
  return dma.native
}
