/** Layouts and numbers that the player needs, as the package declares them. */
import {
  CAPABILITIES,
  IOCTL,
  IOCTL_ARGUMENT,
  STRUCTS as DECLARED,
  ioctlNumber,
  type AnyCodec,
  type CapabilityCodec,
} from '../uapi/index.ts'
import { big } from './number.ts'

export type { CapabilityCodec }

/** A structure: its name, size and members by C name. */
export type StructCodec = AnyCodec

/** Structures by C name. */
export const STRUCTS: Readonly<Record<string, StructCodec>> = DECLARED

/** Capabilities by info structure and id. */
export const INFO_CAPABILITIES: Readonly<Record<string, Readonly<Record<number, CapabilityCodec>>>> = CAPABILITIES

/** Numbers within the type `;` that vectors name although no kernel assigns them. */
const UNASSIGNED: Readonly<Record<string, number>> = { VFIO_BOGUS_200: 200, IOMMU_BOGUS_FF: 0xff }

const VFIO_BASE = 100
const X86_TYPE = 0x3b00
const PPC64_TYPE = 0x20003b00

/**
 * Number of a request on the recorded machine.
 *
 * On x86 a request in hex is the number itself; on POWER it counts from VFIO_BASE.
 * @throws {Error} unknown name
 */
export function ioctlNumberOf(name: string, platform: string | undefined): number {
  const power = platform !== undefined
  if (name in IOCTL) return ioctlNumber(name as keyof typeof IOCTL, power ? 'ppc64' : 'x86')
  const unassigned = UNASSIGNED[name]
  if (unassigned !== undefined) return (power ? PPC64_TYPE : X86_TYPE) + unassigned
  const number = Number(big(name))
  return power ? PPC64_TYPE + VFIO_BASE + number : number
}

/** The structure behind a request, if it has one. */
export function ioctlStruct(name: string): string | undefined {
  return name in IOCTL_ARGUMENT ? IOCTL_ARGUMENT[name as keyof typeof IOCTL_ARGUMENT] : undefined
}

const DESCRIPTOR_REQUESTS = new Set(['VFIO_GROUP_GET_DEVICE_FD', 'KVM_CREATE_VM', 'VFIO_DEVICE_GET_GFX_DMABUF'])

/** Tells whether a request answers with a new descriptor. */
export function returnsDescriptor(name: string): boolean {
  return DESCRIPTOR_REQUESTS.has(name)
}
