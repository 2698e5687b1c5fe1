/** The system's own KVM, as the addon offers it. */

/** A file of KVM: `/dev/kvm`, a virtual machine or its VFIO device. Every method throws; closed it is EBADF. */
export interface NativeKvm {
  apiVersion(): number
  checkExtension(extension: number): number
  createMachine(): NativeKvm
  /** `test`: only asks whether there are such devices, and gives nothing. */
  createVfioDevice(test: boolean): NativeKvm | null
  /** `data`: what the attribute points to, at most 64 bytes; absent: nowhere. */
  setAttribute(group: number, attribute: bigint, data?: Uint8Array): void
  getAttribute(group: number, attribute: bigint): void
  hasAttribute(group: number, attribute: bigint): void
  close(): void
}

/** Opens the system's KVM. */
export interface NativeKvmClass {
  /** @throws ENOENT, EACCES, and what the system refuses with */
  open(path: string): NativeKvm
}
