/** The file of an access that `IOMMU_TEST_CMD` made. */
import { VfioError } from '../errors.ts'
import { syscall } from '../native/syscall.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { IommufdAccess } from './access.ts'
import type { IommufdContext } from './context.ts'
import type { DescriptorFile } from './descriptor.ts'

const OPERATION = 'IOMMU_TEST_CMD'

/** An access by descriptor; it unpins what is being unmapped. */
export class TestAccess implements DescriptorFile {
  readonly kind = 'iommufd-test-access'
  readonly mayPin: boolean
  readonly access: IommufdAccess
  readonly #context: IommufdContext
  readonly #pins = new Map<number, { iova: bigint; length: bigint }>()
  #next = 1

  constructor(context: IommufdContext, mayPin: boolean) {
    this.#context = context
    this.mayPin = mayPin
    this.access = new IommufdAccess(context.objects, mayPin, (iova, length) => this.#unmapped(iova, length))
    context.objects.add(this.access)
    this.access.hold()
    context.hold()
  }

  /** Pins pages, which must be `expected`; returns the number of the pin. @throws {VfioError} */
  pin(
    iova: bigint,
    length: bigint,
    write: boolean,
    expected: { mm: NativeAddressSpace; address: bigint } | undefined,
  ): number {
    syscall(OPERATION, () => this.access.native.pin(iova, length, write, expected), { address: iova })
    const id = this.#next++
    this.#pins.set(id, { iova, length })
    return id
  }

  /** Unpins. @throws {VfioError} ENOENT */
  unpin(id: number): void {
    const pin = this.#pins.get(id)
    if (pin === undefined) throw new VfioError('ENOENT', OPERATION, { reason: `there is no pin ${id}` })
    this.#pins.delete(id)
    this.access.native.unpin(pin.iova, pin.length)
  }

  release(): void {
    this.access.detach()
    this.access.release()
    this.#context.objects.remove(this.access)
    this.#context.release()
  }

  #unmapped(iova: bigint, length: bigint): void {
    for (const [id, pin] of this.#pins) {
      if (pin.iova < iova + length && iova < pin.iova + pin.length) this.unpin(id)
    }
  }
}
