/**
 * Makes the native addon's classes, at first use.
 *
 * Importing this module never fails and never loads anything; {@link addon} does.
 */
import { isMainThread } from 'node:worker_threads'
import { AddressSpaceHandle } from './address-space.ts'
import type { Addon, NativeLimits, NativePciFunction, NativeVfioPciOptions } from './addon.ts'
import type { Binding } from './binding.ts'
import type { IommufdBinding } from './binding-iommufd.ts'
import { loadBinary } from './binary.ts'
import { dmaClass } from './dma.ts'
import { domainClass } from './domain.ts'
import { eventFdClass } from './event-fd.ts'
import { fuseAddon, type FuseAddon, type FuseBinding } from './fuse.ts'
import { iommufdClasses } from './iommufd.ts'
import { memoryClass } from './memory.ts'
import { pciFunctionClass } from './pci-function.ts'
import { connector } from './remote.ts'
import { runAddon, type RunAddon, type RunBinding } from './run.ts'
import { serverClass } from './server.ts'
import { Type1Handle } from './type1.ts'
import { VfioPciHandle } from './vfio-pci.ts'
import { spaprClasses } from './spapr.ts'
import type { SpaprAddon } from './spapr-addon.ts'
import type { SpaprBinding } from './spapr-binding.ts'

let loaded: (Addon & SpaprAddon & FuseAddon & RunAddon) | undefined

/**
 * The native addon.
 * @throws {Error} ERR_VFIO_ADDON there is none for this system, or it does not load; the message says what was tried
 */
export function addon(): Addon & SpaprAddon & FuseAddon & RunAddon {
  loaded ??= makeAddon(loadBinary())
  return loaded
}

function makeAddon(binding: Binding): Addon & SpaprAddon & FuseAddon & RunAddon {
  binding.enterRealm(wasmBufferGetter(), isMainThread)
  return {
    version: binding.addonVersion(),
    externalBuffers: () => binding.externalBuffers(),
    NativeMemory: memoryClass(binding),
    NativeAddressSpace: class extends AddressSpaceHandle {
      constructor(limits: NativeLimits) {
        super(binding, limits)
      }
    },
    ...spaprClasses(binding as SpaprBinding),
    ...fuseAddon(binding as FuseBinding),
    ...runAddon(binding as RunBinding),
    NativeType1: class extends Type1Handle {
      constructor(v2: boolean, entryLimit: number) {
        super(binding, v2, entryLimit)
      }
    },
    iommufd: iommufdClasses(binding as IommufdBinding),
    NativeDma: dmaClass(binding),
    NativeDomain: domainClass(binding),
    NativeEventFd: eventFdClass(binding),
    NativePciFunction: pciFunctionClass(binding),
    NativeKvm: binding.NativeKvm,
    NativeServer: serverClass(binding),
    NativeVfioPci: class extends VfioPciHandle {
      constructor(pci: NativePciFunction, options?: NativeVfioPciOptions) {
        super(binding, pci, options)
      }
    },
    connectDevice: connector(binding),
    debugPanic: (message: string) => binding.debugPanic(message),
  }
}

/** The engine's own getter, taken before the program could replace it. */
function wasmBufferGetter(): (() => unknown) | undefined {
  const wasm = (globalThis as { WebAssembly?: { Memory: { prototype: object } } }).WebAssembly
  return wasm && Object.getOwnPropertyDescriptor(wasm.Memory.prototype, 'buffer')?.get
}
