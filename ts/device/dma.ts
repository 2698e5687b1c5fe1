/** A device's view of memory over the native one: refusals become errors, promises are kept. */
import { VfioError } from '../errors.ts'
import { DMA_READ, DMA_WRITE, type NativeDma } from '../native/addon.ts'
import { later, status, syscall } from '../native/syscall.ts'
import { oneOf, record, u32, u64, type U64 } from '../shape.ts'
import { ERRNO } from '../uapi/errno.ts'
import type { DmaAccess } from './ops.ts'

/** What a device reaches by DMA, through the IOMMU that it sits behind. */
export class Dma implements DmaAccess {
  readonly native: NativeDma

  constructor(native: NativeDma) {
    this.native = native
  }

  read(iova: U64, into: Uint8Array): void {
    done(this.native.read(iova, into), 'dma_read', iova)
  }

  write(iova: U64, from: Uint8Array): void {
    done(this.native.write(iova, from), 'dma_write', iova)
  }

  readU8(iova: U64): number {
    return done(this.native.readU8(iova), 'dma_read', iova)
  }

  readU16(iova: U64): number {
    return done(this.native.readU16(iova), 'dma_read', iova)
  }

  readU32(iova: U64): number {
    return done(this.native.readU32(iova), 'dma_read', iova)
  }

  readU64(iova: U64): bigint {
    return done(this.native.readU64(iova), 'dma_read', iova)
  }

  writeU8(iova: U64, value: number): void {
    done(this.native.writeU8(iova, value), 'dma_write', iova)
  }

  writeU16(iova: U64, value: number): void {
    done(this.native.writeU16(iova, value), 'dma_write', iova)
  }

  writeU32(iova: U64, value: number): void {
    done(this.native.writeU32(iova, value), 'dma_write', iova)
  }

  writeU64(iova: U64, value: U64): void {
    done(this.native.writeU64(iova, value), 'dma_write', iova)
  }

  fill(iova: U64, length: U64, value: number): void {
    done(this.native.fill(iova, length, value), 'dma_write', iova)
  }

  readBatch(pairs: BigUint64Array, into: Uint8Array): number {
    return status(this.native.readBatch(pairs, into), 'dma_read')
  }

  writeBatch(pairs: BigUint64Array, from: Uint8Array): number {
    return status(this.native.writeBatch(pairs, from), 'dma_write')
  }

  compareExchange32(iova: U64, expected: number, desired: number): number {
    return done(this.native.compareExchange32(iova, expected, desired), 'dma_write', iova)
  }

  compareExchange64(iova: U64, expected: U64, desired: U64): bigint {
    return done(this.native.compareExchange64(iova, expected, desired), 'dma_write', iova)
  }

  fetchAdd32(iova: U64, value: number): number {
    return done(this.native.fetchAdd32(iova, value), 'dma_write', iova)
  }

  fetchAdd64(iova: U64, value: U64): bigint {
    return done(this.native.fetchAdd64(iova, value), 'dma_write', iova)
  }

  translate(iova: U64, access: 'read' | 'write'): number {
    const bits = access === 'read' ? DMA_READ : accessBits(access)
    return done(this.native.translate(iova, bits), 'dma_translate', iova)
  }

  translateBatch(iovas: BigUint64Array, access: 'read' | 'write', hosts: BigUint64Array): number {
    return status(this.native.translateBatch(iovas, accessBits(access), hosts), 'dma_translate')
  }

  pinPages(iova: U64, pages: number, access: { read?: boolean; write?: boolean }): void {
    record(access, 'access')
    const wanted = (access.read === true ? DMA_READ : 0) | (access.write === true ? DMA_WRITE : 0)
    done(this.native.pinPages(iova, pages, wanted), 'pin_pages', iova)
  }

  unpinPages(iova: U64, pages: number): void {
    done(this.native.unpinPages(iova, pages), 'unpin_pages', iova)
  }

  withPasid(pasid: number): Dma {
    const wanted = u32(pasid, 'pasid')
    return new Dma(syscall('dma_pasid', () => this.native.withPasid(wanted)))
  }

  readAsync(iova: U64, length: number): Promise<Uint8Array> {
    const address = u64(iova, 'iova')
    return later('dma_read', () => this.native.submitRead(address, length), { address })
  }

  writeAsync(iova: U64, from: Uint8Array): Promise<void> {
    const address = u64(iova, 'iova')
    return later('dma_write', () => this.native.submitWrite(address, from), { address })
  }
}

const EFAULT = -ERRNO.EFAULT

/** Passes the value of a native status on. @throws {VfioError} where it is a negated errno */
function done(ret: number, operation: string, iova: U64): number
function done(ret: bigint, operation: string, iova: U64): bigint
function done(ret: number | bigint, operation: string, iova: U64): number | bigint {
  if (ret >= 0) return ret
  throw VfioError.fromStatus(Number(ret), operation, {
    address: BigInt(iova),
    ...(ret === EFAULT || ret === BigInt(EFAULT) ? { remedy: 'the fault log of the container says why' } : {}),
  })
}

function accessBits(access: 'read' | 'write'): number {
  return oneOf(access, ['read', 'write'], 'access') === 'read' ? DMA_READ : DMA_WRITE
}

/** The native view behind `dma`. @throws {VfioError} EOPNOTSUPP a view that is not native */
export function nativeDma(dma: DmaAccess): NativeDma {
  if (dma.native === undefined) {
    throw new VfioError('EOPNOTSUPP', 'open', { reason: 'a native device needs a native view of memory' })
  }
  return dma.native
}
