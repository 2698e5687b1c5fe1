/** Native views of memory as callers see them. */
import { invalidArgType, outOfRange } from '../errors.ts'
import { bytes, u32, u64, type U64 } from '../shape.ts'
import { ERRNO } from '../uapi/errno.ts'
import { DMA_READ, DMA_WRITE, type NativeDma, type NativeDmaClass } from './addon.ts'
import type { Binding, BindingDma } from './binding.ts'

/** Translates an address. */
type Translate = (iova: U64) => number

/** The one implementation of {@link NativeDma}. */
export class DmaHandle implements NativeDma {
  readonly name: string
  readonly #raw: Binding
  readonly #owner: BindingDma
  #handle: number
  /** What translates one address, for reading and for writing: functions bound to the view, once they are needed. */
  #toRead: Translate | undefined
  #toWrite: Translate | undefined

  constructor(raw: Binding, owner: BindingDma) {
    this.name = owner.name
    this.#raw = raw
    this.#owner = owner
    this.#handle = owner.handle
  }

  /** The handle of `dma` for a raw call. @throws {TypeError} it is not ours */
  static handleOf(dma: unknown, name: string): number {
    if (typeof dma !== 'object' || dma === null || !(#handle in dma)) {
      throw invalidArgType(name, 'a native view of memory', dma)
    }
    return dma.#handle
  }

  /** Closes the device whose view `dma` is. */
  static close(dma: unknown, name: string): void {
    DmaHandle.handleOf(dma, name)
    const view = dma as DmaHandle
    view.#handle = 0
    view.#toRead = undefined
    view.#toWrite = undefined
    view.#owner.close()
  }

  read(iova: U64, into: Uint8Array): number {
    return this.#raw.dmaRead(this.#handle, iova, into)
  }

  write(iova: U64, from: Uint8Array): number {
    return this.#raw.dmaWrite(this.#handle, iova, from)
  }

  fill(iova: U64, length: U64, value: number): number {
    return this.#raw.dmaFill(this.#handle, iova, length, value)
  }

  readU8(iova: U64): number {
    return this.#raw.dmaReadU8(this.#handle, iova)
  }

  readU16(iova: U64): number {
    return this.#raw.dmaReadU16(this.#handle, iova)
  }

  readU32(iova: U64): number {
    return this.#raw.dmaReadU32(this.#handle, iova)
  }

  readU64(iova: U64): bigint {
    return this.#raw.dmaReadU64(this.#handle, iova)
  }

  writeU8(iova: U64, value: number): number {
    return this.#raw.dmaWriteU8(this.#handle, iova, value)
  }

  writeU16(iova: U64, value: number): number {
    return this.#raw.dmaWriteU16(this.#handle, iova, value)
  }

  writeU32(iova: U64, value: number): number {
    return this.#raw.dmaWriteU32(this.#handle, iova, value)
  }

  writeU64(iova: U64, value: U64): number {
    return this.#raw.dmaWriteU64(this.#handle, iova, value)
  }

  compareExchange32(iova: U64, expected: number, desired: number): number {
    return this.#raw.dmaCompareExchange32(this.#handle, iova, expected, desired)
  }

  compareExchange64(iova: U64, expected: U64, desired: U64): bigint {
    return this.#raw.dmaCompareExchange64(this.#handle, iova, expected, desired)
  }

  fetchAdd32(iova: U64, value: number): number {
    return this.#raw.dmaFetchAdd32(this.#handle, iova, value)
  }

  fetchAdd64(iova: U64, value: U64): bigint {
    return this.#raw.dmaFetchAdd64(this.#handle, iova, value)
  }

  translate(iova: U64, access: number): number {
    if (access === DMA_READ) return (this.#toRead ?? this.#translator(DMA_READ))(iova)
    if (access !== DMA_WRITE && access !== (DMA_READ | DMA_WRITE)) throw badAccess(access)
    const readable = access === DMA_WRITE ? 0 : this.translate(iova, DMA_READ)
    return readable < 0 ? readable : (this.#toWrite ?? this.#translator(DMA_WRITE))(iova)
  }

  translateBatch(iovas: BigUint64Array, access: number, hosts: BigUint64Array): number {
    return this.#raw.dmaTranslateBatch(this.#handle, iovas, access, hosts)
  }

  readBatch(pairs: BigUint64Array, into: Uint8Array): number {
    return this.#raw.dmaReadBatch(this.#handle, pairs, into)
  }

  writeBatch(pairs: BigUint64Array, from: Uint8Array): number {
    return this.#raw.dmaWriteBatch(this.#handle, pairs, from)
  }

  pinPages(iova: U64, pages: number, access: number): number {
    return this.#raw.dmaPinPages(this.#handle, iova, pages, access)
  }

  unpinPages(iova: U64, pages: number): number {
    return this.#raw.dmaUnpinPages(this.#handle, iova, pages)
  }

  submitRead(iova: U64, length: number): Promise<Uint8Array> {
    return this.#owner.submitRead(u64(iova, 'iova'), u32(length, 'length'))
  }

  submitWrite(iova: U64, from: Uint8Array): Promise<void> {
    return this.#owner.submitWrite(u64(iova, 'iova'), bytes(from, 'from'))
  }

  withPasid(pasid: number): NativeDma {
    return new DmaHandle(this.#raw, this.#owner.withPasid(pasid))
  }

  share(): bigint {
    return this.#owner.share()
  }

  /** Makes the function that translates one way. */
  #translator(access: typeof DMA_READ | typeof DMA_WRITE): Translate {
    if (this.#handle === 0) return closed
    const translate = this.#raw.dmaTranslator(this.#handle, access)
    if (typeof translate === 'number') return () => translate
    if (access === DMA_READ) this.#toRead = translate
    else this.#toWrite = translate
    return translate
  }
}

const EBADF = -ERRNO.EBADF

function closed(): number {
  return EBADF
}

function badAccess(access: unknown): Error {
  if (typeof access !== 'number') return invalidArgType('access', 'a number', access)
  return outOfRange('access', 'DMA_READ, DMA_WRITE or both', access)
}

/** Takes views of memory through `raw`. */
export function dmaClass(raw: Binding): NativeDmaClass {
  return { adopt: (token) => new DmaHandle(raw, raw.NativeDma.adopt(u64(token, 'token'))) }
}
