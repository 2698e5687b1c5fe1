/** Native address spaces as callers see them. */
import { invalidArgType } from '../errors.ts'
import { flag, u32, u64, type U64 } from '../shape.ts'
import { ERRNO } from '../uapi/errno.ts'
import type { NativeAddressSpace, NativeLimits, NativeMapRequest } from './addon.ts'
import type { Binding, BindingAddressSpace } from './binding.ts'
import { MemoryHandle } from './memory.ts'

/** The one implementation of {@link NativeAddressSpace}. */
export class AddressSpaceHandle implements NativeAddressSpace {
  readonly #raw: Binding
  readonly #owner: BindingAddressSpace
  #handle: number
  readonly pageSize: number

  /** `made`: an address space that exists already. */
  constructor(raw: Binding, limits: NativeLimits, made?: BindingAddressSpace) {
    const memlock = u64(limits?.memlock, 'limits.memlock')
    const capIpcLock = flag(limits.capIpcLock, 'limits.capIpcLock', false)
    this.pageSize = u32(limits.pageSize ?? 4096, 'limits.pageSize')
    this.#raw = raw
    this.#owner = made ?? new raw.NativeAddressSpace(memlock, capIpcLock, BigInt(this.pageSize))
    this.#handle = this.#owner.handle
  }

  /** What owns `mm`. @throws {TypeError} it is not ours */
  static ownerOf(mm: unknown, name: string): BindingAddressSpace {
    AddressSpaceHandle.handleOf(mm, name)
    return (mm as AddressSpaceHandle).#owner
  }

  /** The handle of `mm` for a raw call. @throws {TypeError} it is not ours */
  static handleOf(mm: unknown, name: string): number {
    if (typeof mm !== 'object' || mm === null || !(#handle in mm)) {
      throw invalidArgType(name, 'a native address space', mm)
    }
    return mm.#handle
  }

  map(request: NativeMapRequest): bigint {
    const { hint, align, memory, offset, length, read, write, pageSize } = request
    if (pageSize !== undefined) {
      return this.#owner.mapHuge({
        ...(hint === undefined ? {} : { hint: u64(hint, 'hint') }),
        align: u64(align ?? 0n, 'align'),
        memory: MemoryHandle.handleOf(memory, 'memory'),
        offset: u64(offset, 'offset'),
        length: u64(length, 'length'),
        prot: prot(read, write),
        pageSize: u64(pageSize, 'pageSize'),
      })
    }
    return this.#owner.map(
      hint === undefined ? undefined : u64(hint, 'hint'),
      u64(align ?? 0n, 'align'),
      MemoryHandle.handleOf(memory, 'memory'),
      u64(offset, 'offset'),
      u64(length, 'length'),
      prot(read, write),
    )
  }

  unmap(address: U64, length: U64): void {
    this.#owner.unmap(u64(address, 'address'), u64(length, 'length'))
  }

  protect(address: U64, length: U64, read: boolean, write: boolean): void {
    this.#owner.protect(u64(address, 'address'), u64(length, 'length'), prot(read, write))
  }

  mlock(address: U64, length: U64): void {
    this.#owner.mlock(u64(address, 'address'), u64(length, 'length'))
  }

  munlock(address: U64, length: U64): void {
    this.#owner.munlock(u64(address, 'address'), u64(length, 'length'))
  }

  read(address: U64, into: Uint8Array): number {
    return this.#raw.addressSpaceRead(this.#handle, address, into)
  }

  write(address: U64, from: Uint8Array): number {
    return this.#raw.addressSpaceWrite(this.#handle, address, from)
  }

  setLimit(bytes: U64): void {
    this.#owner.setLimits(u64(bytes, 'bytes'), undefined)
  }

  setCapIpcLock(capable: boolean): void {
    this.#owner.setLimits(undefined, flag(capable, 'capable', false))
  }

  joinUser(other: NativeAddressSpace): void {
    AddressSpaceHandle.handleOf(other, 'other')
    this.#owner.joinUser((other as AddressSpaceHandle).#owner)
  }

  lockedVm(): bigint {
    return this.#owner.lockedVm()
  }

  pinnedVm(): bigint {
    return this.#owner.pinnedVm()
  }

  charge(pages: bigint): number {
    return this.#owner.charge(u64(pages, 'pages')) ? 0 : -ERRNO.ENOMEM
  }

  uncharge(pages: bigint): void {
    this.#owner.uncharge(u64(pages, 'pages'))
  }

  close(): void {
    this.#handle = 0
    this.#owner.close()
  }
}

function prot(read: boolean, write: boolean): number {
  return (flag(read, 'read', false) ? 1 : 0) | (flag(write, 'write', false) ? 2 : 0)
}
