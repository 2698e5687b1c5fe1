/** A guest's memory: which addresses of its process lie behind guest addresses (KVM's memory slots). */
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace } from '../native/addon.ts'

/** A range of guest addresses, and where it lies in the process. Sizes in bytes. */
export interface GuestSlot {
  guest: bigint
  vaddr: bigint
  size: bigint
}

/** The slots of one guest; they do not overlap. */
export class GuestMemory {
  /** The process whose memory it is. */
  readonly mm: NativeAddressSpace
  readonly #slots: GuestSlot[] = []

  constructor(mm: NativeAddressSpace) {
    this.mm = mm
  }

  /** Adds a slot. @throws {VfioError} EINVAL empty, EEXIST overlaps another */
  add(slot: GuestSlot): void {
    if (slot.size === 0n) throw new VfioError('EINVAL', 'KVM_SET_USER_MEMORY_REGION', { reason: 'the slot is empty' })
    const end = slot.guest + slot.size
    if (this.#slots.some(({ guest, size }) => guest < end && slot.guest < guest + size)) {
      throw new VfioError('EEXIST', 'KVM_SET_USER_MEMORY_REGION', {
        address: slot.guest,
        reason: 'the slot overlaps another',
      })
    }
    this.#slots.push({ ...slot })
  }

  /** Address in the process of a guest address, if there is memory. */
  find(guest: bigint): bigint | undefined {
    const slot = this.#slots.find((other) => guest >= other.guest && guest - other.guest < other.size)
    return slot && slot.vaddr + (guest - slot.guest)
  }
}
