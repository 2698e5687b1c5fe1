/** Why vfio-pci refuses, in words; looked for after the fact, so that an access itself stays fast. */
import type { VfioErrorDetails } from '../errors.ts'
import type { NativeVfioPci } from '../native/addon.ts'
import {
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_ROM_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_MMAP,
} from '../uapi/constants.ts'
import type { ErrnoName } from '../uapi/errno.ts'

/** The command register, and its bits that let a function answer accesses to its BARs. */
const COMMAND = 0x04
const COMMAND_IO = 0x1
const COMMAND_MEMORY = 0x2
const BAR0 = 0x10
/** Bit of a BAR that says that it decodes I/O ports. */
const BAR_IO = 0x1

/** Explains a region index that is not there. */
export function noRegion(index: number): VfioErrorDetails {
  return { reason: `there is no region ${index}`, remedy: 'device.regions() gives those that there are' }
}

/** Explains an interrupt index that is not there. */
export function noIrq(index: number): VfioErrorDetails {
  return { reason: `there is no interrupt index ${index}`, remedy: 'device.irqs() gives those that there are' }
}

/** Explains a refused reset of a function. */
export const noReset: VfioErrorDetails = {
  reason: 'the function has no reset of its own',
  remedy: 'reset its bus by hotReset(), if hotResetInfo() lists only devices of yours',
}

/** Explains a refused change of interrupts. */
export function irqRefusal(code: ErrnoName, index: number): VfioErrorDetails {
  if (code === 'ENOTTY') return { reason: `interrupt index ${index} does not take that action` }
  if (code !== 'EINVAL') return {}
  return {
    reason: `interrupt index ${index} cannot do that now`,
    remedy:
      'only one of INTx, MSI and MSI-X can be enabled: disable the other first, and enable what is to be fired or masked',
  }
}

/** Explains a refused read or write of a region. */
export function accessRefusal(code: ErrnoName, native: NativeVfioPci, index: number, offset: bigint): VfioErrorDetails {
  return { address: offset, ...whyNoAccess(code, native, index, offset) }
}

/** Explains a refused mapping of a region. */
export function mapRefusal(code: ErrnoName, native: NativeVfioPci, index: number, offset: bigint): VfioErrorDetails {
  if (code !== 'EINVAL') return { address: offset }
  const region = regionOf(native, index)
  if (region === undefined) return { address: offset, ...noRegion(index) }
  const mappable = (region.flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0
  const reason = mappable
    ? `region ${index} has no such part to map: whole pages, inside its ${region.size} bytes, as its capabilities allow`
    : `region ${index} cannot be mapped`
  return { address: offset, reason, ...(mappable ? {} : { remedy: 'access it by read and write' }) }
}

/** A model that answers by promises, asked by somebody who does not wait. */
const LATER: VfioErrorDetails = {
  reason: 'the device answers later',
  remedy: 'wait for it: use readAsync of the region',
}

function whyNoAccess(code: ErrnoName, native: NativeVfioPci, index: number, offset: bigint): VfioErrorDetails {
  if (code === 'EAGAIN') return LATER
  const region = regionOf(native, index)
  if (region === undefined) return noRegion(index)
  if (region.size === 0n) return { reason: `the device has nothing in region ${index}` }
  if (offset >= region.size) return { reason: `region ${index} has ${region.size} bytes` }
  if (code === 'EIO') return whyNoAnswer(native, index)
  return {}
}

/** A BAR answers while the function decodes its kind of access. */
function whyNoAnswer(native: NativeVfioPci, index: number): VfioErrorDetails {
  if (index > VFIO_PCI_ROM_REGION_INDEX) return {}
  const io = index < VFIO_PCI_ROM_REGION_INDEX && (native.pci.configRead(BAR0 + index * 4, 4) & BAR_IO) !== 0
  const bit = io ? COMMAND_IO : COMMAND_MEMORY
  if ((native.pci.configRead(COMMAND, 2) & bit) !== 0) return { reason: 'the device did not answer' }
  return {
    reason: `the function does not decode ${io ? 'I/O ports' : 'memory'}`,
    remedy: `set bit ${io ? 0 : 1} of its command register, at ${COMMAND} of region ${VFIO_PCI_CONFIG_REGION_INDEX}`,
  }
}

function regionOf(native: NativeVfioPci, index: number): { flags: number; size: bigint } | undefined {
  if (index >= VFIO_PCI_NUM_REGIONS) return undefined
  try {
    return native.getRegionInfo(index)
  } catch {
    return undefined
  }
}
