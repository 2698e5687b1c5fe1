/**
 * Interrupts of an mtty card: INTx or MSI, one at a time, each with one vector.
 *
 * INTx masks itself when it fires. Masks and unmasks by eventfd, and the indexes that the card reports without having
 * them (MSI-X, ERR, REQ), are ENOTTY.
 */
import { checkIrqSet, type IrqPayload } from '../device/irq-set.ts'
import type { EventTarget64, IrqInfo, IrqSetRequest } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX as INTX,
  VFIO_PCI_MSI_IRQ_INDEX as MSI,
  VFIO_PCI_NUM_IRQS,
} from '../uapi/constants.ts'

/** Interrupt state of one card. */
export class MttyInterrupts {
  /** The index in use; undefined while none is. */
  #index: number | undefined
  #event: EventTarget64 | undefined
  #masked = false
  /** What GET_INFO has told the user; until then there is no interrupt at all. */
  #told = 0

  /** The user has asked what the card is: from now on it has interrupts. Returns their number of indexes. */
  tell(): number {
    this.#told = VFIO_PCI_NUM_IRQS
    return this.#told
  }

  /** Describes an index. @throws {VfioError} EINVAL before GET_INFO, and any index but INTx and MSI */
  info(index: number): IrqInfo {
    if (index >= this.#told || (index !== INTX && index !== MSI)) throw refuse('EINVAL', 'VFIO_DEVICE_GET_IRQ_INFO')
    const extra = index === INTX ? VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED : VFIO_IRQ_INFO_NORESIZE
    return { flags: VFIO_IRQ_INFO_EVENTFD | extra, count: 1 }
  }

  /**
   * Carries `VFIO_DEVICE_SET_IRQS` out.
   * @throws {VfioError} EINVAL before GET_INFO, a malformed request, the other index in use, start or count wrong, a
   *   trigger that is not enabled; ENOTTY an index or way of masking that the card lacks; EBADF
   */
  set(request: IrqSetRequest): void {
    const payload = checkIrqSet(request, this.#told, VFIO_PCI_NUM_IRQS)
    if (request.index !== INTX && request.index !== MSI) throw refuse('ENOTTY')
    switch (request.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) {
      case VFIO_IRQ_SET_ACTION_MASK:
        return this.#mask(request, payload, true)
      case VFIO_IRQ_SET_ACTION_UNMASK:
        return this.#mask(request, payload, false)
      case VFIO_IRQ_SET_ACTION_TRIGGER:
        return this.#trigger(request, payload)
    }
  }

  /** Raises whichever interrupt is enabled. */
  raise(): void {
    if (this.#event === undefined || this.#masked) return
    this.#masked = this.#index === INTX
    this.#event.signal()
  }

  /** Lets go of the eventfd; no index is in use afterwards. */
  disable(): void {
    this.#index = undefined
    this.#event = undefined
    this.#masked = false
  }

  #mask({ index, start, count }: IrqSetRequest, { bools, eventfds }: IrqPayload, masked: boolean): void {
    if (index !== INTX) throw refuse('ENOTTY')
    if (this.#index !== INTX || start !== 0 || count !== 1) throw refuse('EINVAL')
    if (eventfds !== undefined) throw refuse('ENOTTY')
    if (bools[0] !== 0) this.#masked = masked
  }

  #trigger({ flags, index, start, count }: IrqSetRequest, { bools, eventfds }: IrqPayload): void {
    const enabled = this.#index === index
    if (enabled && count === 0 && (flags & VFIO_IRQ_SET_DATA_NONE) !== 0) return this.disable()
    if ((this.#index !== undefined && !enabled) || start !== 0 || count !== 1) throw refuse('EINVAL')
    if (eventfds !== undefined) {
      this.disable()
      if (eventfds.fd(0) >= 0) {
        this.#event = eventfds.get(0)
        this.#index = index
      }
      return
    }
    if (!enabled) throw refuse('EINVAL')
    if (bools[0] !== 0) this.raise()
  }
}

function refuse(code: 'EINVAL' | 'ENOTTY', name = 'VFIO_DEVICE_SET_IRQS'): VfioError {
  return new VfioError(code, name)
}
