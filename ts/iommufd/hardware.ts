/** What an iommufd asks about the IOMMU in front of a device. */
import type { NativeDomainOptions, NativeIovaRange } from '../native/addon.ts'
import {
  IOMMU_HW_CAP_DIRTY_TRACKING,
  IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED,
  IOMMU_HW_INFO_SOFTWARE_ACCESSED_DIRTY,
  IOMMU_HW_INFO_SOFTWARE_NESTING,
  IOMMU_HW_INFO_SOFTWARE_PAGE_REQUESTS,
  IOMMU_HW_INFO_TYPE_INTEL_VTD,
  IOMMU_HW_INFO_TYPE_SOFTWARE,
  IOMMU_HW_QUEUES_SOFTWARE,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
  MOCK_APERTURE_LAST,
  MOCK_APERTURE_START,
  MOCK_PAGE_SIZE,
} from '../uapi/constants.ts'
import { iommuHwInfoSoftware } from '../uapi/structs.ts'
import { mockNesting } from './mock-nesting.ts'
import type { Nesting } from './nesting.ts'
import { softwareNesting } from './software-nesting.ts'

/** An IOMMU, as far as page tables and `IOMMU_GET_HW_INFO` are concerned. */
export interface IommuHardware {
  /** Geometry of its page tables. */
  readonly domain: Omit<NativeDomainOptions, 'tracksDirty'>
  /** Ranges that the device cannot use. */
  readonly reserved: readonly NativeIovaRange[]
  /** `IOMMU_HWPT_ALLOC_*` that it can do. */
  readonly flags: number
  /** Takes data of its own with a page table, and does nothing with it. */
  readonly takesData: boolean
  /** Enforces cache coherency. */
  readonly cacheCoherency: boolean
  /** Keeps devices from memory that is not mapped. */
  readonly isolates: boolean
  /** `IOMMU_HW_INFO_TYPE_*`, and what it tells about itself. */
  readonly info: { readonly type: number; readonly data: Uint8Array }
  /** `IOMMU_HW_CAP_*`. */
  readonly capabilities: bigint
  /** PASIDs have so many bits; 0: there are none. */
  readonly maxPasidLog2: number
  /** What it does for guests with an IOMMU of their own. */
  readonly nesting?: Nesting
}

/** Geometry of the machine's IOMMU. */
export interface MachineIommu {
  pgsizes: bigint
  apertureStart: bigint
  apertureLast: bigint
  cacheCoherency: boolean
  /** It presents itself as the software IOMMU that it is; absent: as an Intel VT-d. */
  software?: { dirtyTracking: boolean; pasidWidth: number }
}

/** Size of `struct iommu_hw_info_vtd`: flags, reserved, capability and extended capability register. */
const VTD_INFO = 24
/** Number of domains (2^16), second-stage large pages; the rest follows from the geometry. */
const VTD_DOMAINS = 6n
const VTD_CACHING_MODE = 1n << 7n

/** The IOMMU of the machine, which presents itself as an Intel VT-d in legacy mode. */
export function machineHardware(iommu: MachineIommu, reserved: readonly NativeIovaRange[]): IommuHardware {
  if (iommu.software !== undefined) return softwareHardware(iommu, iommu.software, reserved)
  const { pgsizes, apertureStart, apertureLast, cacheCoherency } = iommu
  const width = BigInt(apertureLast.toString(2).length)
  const large = (pgsizes >> 21n) & 1n
  const huge = (pgsizes >> 30n) & 1n
  const cap = VTD_DOMAINS | VTD_CACHING_MODE | ((width - 1n) << 16n) | (large << 34n) | (huge << 35n)
  const data = new Uint8Array(VTD_INFO)
  new DataView(data.buffer).setBigUint64(8, cap, true)
  return {
    domain: { pgsizes, apertureStart, apertureLast },
    reserved,
    flags: 0,
    takesData: false,
    cacheCoherency,
    isolates: true,
    info: { type: IOMMU_HW_INFO_TYPE_INTEL_VTD, data },
    capabilities: IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED,
    maxPasidLog2: 0,
  }
}

/** The IOMMU of a machine that does all that it can. */
function softwareHardware(
  { pgsizes, apertureStart, apertureLast, cacheCoherency }: MachineIommu,
  { dirtyTracking, pasidWidth }: { dirtyTracking: boolean; pasidWidth: number },
  reserved: readonly NativeIovaRange[],
): IommuHardware {
  const data = iommuHwInfoSoftware.bytes({
    flags:
      IOMMU_HW_INFO_SOFTWARE_NESTING | IOMMU_HW_INFO_SOFTWARE_ACCESSED_DIRTY | IOMMU_HW_INFO_SOFTWARE_PAGE_REQUESTS,
    levels: 0b11_1000,
    pageSizes: 0x4020_1000n,
    addressWidth: Math.min(52, apertureLast.toString(2).length),
    hwQueues: IOMMU_HW_QUEUES_SOFTWARE,
  })
  const flags =
    IOMMU_HWPT_ALLOC_NEST_PARENT |
    (dirtyTracking ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0) |
    (pasidWidth > 0 ? IOMMU_HWPT_ALLOC_PASID : 0)
  return {
    domain: { pgsizes, apertureStart, apertureLast },
    reserved,
    flags,
    takesData: false,
    cacheCoherency,
    isolates: true,
    info: { type: IOMMU_HW_INFO_TYPE_SOFTWARE, data },
    capabilities: dirtyTracking ? IOMMU_HW_CAP_DIRTY_TRACKING : 0n,
    maxPasidLog2: pasidWidth,
    nesting: softwareNesting,
  }
}

/** No IOMMU at all: addresses are what they are, and nothing is kept apart. */
export const noHardware: IommuHardware = {
  domain: { pgsizes: 0x1000n, apertureStart: 0n, apertureLast: 0xffff_ffff_ffff_ffffn },
  reserved: [],
  flags: 0,
  takesData: false,
  cacheCoherency: true,
  isolates: false,
  info: { type: 0, data: new Uint8Array() },
  capabilities: IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED,
  maxPasidLog2: 0,
}

/** Kind that the mock IOMMU tells of itself, and its one register. */
const MOCK_INFO_TYPE = 0xfeed_beef
const MOCK_REGISTER = 0xdead_beef

/** The IOMMU of the mock devices of `IOMMU_TEST_CMD`. */
export function mockHardware(tracksDirty: boolean, pasids = false): IommuHardware {
  const data = new Uint8Array(8)
  new DataView(data.buffer).setUint32(4, MOCK_REGISTER, true)
  const dirty = tracksDirty ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0
  return {
    domain: {
      mirror: true,
      pgsizes: BigInt(MOCK_PAGE_SIZE),
      apertureStart: BigInt(MOCK_APERTURE_START),
      apertureLast: BigInt(MOCK_APERTURE_LAST),
    },
    reserved: [],
    flags: IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID | dirty,
    takesData: true,
    cacheCoherency: true,
    isolates: true,
    info: { type: MOCK_INFO_TYPE, data },
    capabilities: IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED | (tracksDirty ? IOMMU_HW_CAP_DIRTY_TRACKING : 0n),
    maxPasidLog2: pasids ? 20 : 0,
    nesting: mockNesting,
  }
}

/** Tells whether a device can use a page table that was made for another. */
export function compatible(a: IommuHardware, b: IommuHardware): boolean {
  return (
    a.info.type === b.info.type &&
    a.domain.mirror === b.domain.mirror &&
    a.domain.pgsizes === b.domain.pgsizes &&
    a.domain.apertureStart === b.domain.apertureStart &&
    a.domain.apertureLast === b.domain.apertureLast &&
    a.cacheCoherency === b.cacheCoherency
  )
}
