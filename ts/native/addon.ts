/**
 * The hand-typed interface of the native addon: everything that `ts/native/load.ts` hands out.
 *
 * Two manners, told apart by the return type:
 * - *status methods* return a number that is zero or positive on success and a **negated errno** on refusal (`-14` is
 *   EFAULT); those that return a `bigint` value do the same in bigint. They never throw for a refusal; turn the answer
 *   into an error with `status()` of `syscall.ts`.
 * - all others throw an `Error` whose `code` is the errno's name; wrap the call in `syscall()` of `syscall.ts`.
 *
 * In both, an argument of the wrong shape is a `TypeError` with `ERR_INVALID_ARG_TYPE` (or a `RangeError` with
 * `ERR_OUT_OF_RANGE`), and a closed object answers EBADF. Where a parameter says `U64`, a bigint or a safe
 * integer will do. Sizes, offsets and addresses are in bytes.
 */
import type { NativeDmaClass, NativeDomainClass, NativeType1 } from './addon-iommu.ts'
import type { NativeIommufd } from './addon-iommufd.ts'
import type { NativeAddressSpace, NativeExternalBuffers, NativeLimits, NativeMemoryClass } from './addon-memory.ts'
import type {
  NativeEventFdClass,
  NativePciFunction,
  NativePciFunctionClass,
  NativeVfioPci,
  NativeVfioPciOptions,
} from './addon-pci.ts'
import type { NativeKvmClass } from './addon-kvm.ts'
import type { NativeConnect, NativeServerClass } from './addon-user.ts'

export * from './addon-iommu.ts'
export * from './addon-iommufd.ts'
export * from './addon-memory.ts'
export * from './addon-pci.ts'
export * from './addon-kvm.ts'
export * from './addon-user.ts'

/** All that the addon exports. */
export interface Addon {
  /** Version of the addon. */
  readonly version: string
  /** Tells whether buffers over memory that is not the engine's can be made. */
  externalBuffers(): NativeExternalBuffers
  readonly NativeMemory: NativeMemoryClass
  readonly NativeAddressSpace: new (limits: NativeLimits) => NativeAddressSpace
  /** `entryLimit` is `dma_entry_limit`. */
  readonly NativeType1: new (v2: boolean, entryLimit: number) => NativeType1
  /** Address spaces of iommufd, and what is attached to them. */
  readonly iommufd: NativeIommufd
  readonly NativeDma: NativeDmaClass
  readonly NativeDomain: NativeDomainClass
  readonly NativeEventFd: NativeEventFdClass
  /** The system's own KVM; undefined where the system has none by its kind. */
  readonly NativeKvm: NativeKvmClass | undefined
  readonly NativePciFunction: NativePciFunctionClass
  readonly NativeServer: NativeServerClass
  readonly NativeVfioPci: new (pci: NativePciFunction, options?: NativeVfioPciOptions) => NativeVfioPci
  readonly connectDevice: NativeConnect
  /** Panics inside Rust, to prove that a panic becomes an exception. */
  debugPanic(message: string): never
}
