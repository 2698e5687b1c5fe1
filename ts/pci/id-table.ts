/** Which functions a driver is for: tables of ids, and the text of `new_id` and `remove_id`. */
import type { PciHeader } from './config-layout.ts'

/** Any value will do. */
export const PCI_ANY_ID = 0xffff_ffff

/** An entry of a driver's table. Fields that are absent match anything. */
export interface PciDeviceId {
  vendor: number
  device: number
  subvendor?: number
  subdevice?: number
  /** Class code that the bits of `classMask` must have. */
  classCode?: number
  classMask?: number
  /** Matches only functions whose `driver_override` names the driver. */
  overrideOnly?: boolean
}

/** An entry with every field filled in, as the driver core keeps it. */
export type FullDeviceId = Required<PciDeviceId>

/** What matching looks at. */
export type IdentifiedFunction = Pick<
  PciHeader,
  'vendor' | 'device' | 'subsystemVendor' | 'subsystemDevice' | 'classCode'
>

/** Fills in what an entry leaves open. */
export function fullId(id: PciDeviceId): FullDeviceId {
  return {
    vendor: id.vendor,
    device: id.device,
    subvendor: id.subvendor ?? PCI_ANY_ID,
    subdevice: id.subdevice ?? PCI_ANY_ID,
    classCode: id.classCode ?? 0,
    classMask: id.classMask ?? 0,
    overrideOnly: id.overrideOnly ?? false,
  }
}

/** Tells whether an entry means a function. */
export function matchesId(id: FullDeviceId, fn: IdentifiedFunction): boolean {
  return (
    field(id.vendor, fn.vendor) &&
    field(id.device, fn.device) &&
    field(id.subvendor, fn.subsystemVendor) &&
    field(id.subdevice, fn.subsystemDevice) &&
    ((id.classCode ^ fn.classCode) & id.classMask) === 0
  )
}

/** Hexadecimal numbers at the start of a text, up to `most`, as `sscanf("%x %x …")` reads them. */
export function scanHex(text: string, most: number): bigint[] {
  const nul = text.indexOf('\0')
  let rest = nul < 0 ? text : text.slice(0, nul)
  const numbers: bigint[] = []
  while (numbers.length < most) {
    const found = /^[ \t\n\v\f\r\u00a0]*(?:0[xX]([0-9a-fA-F]*)|([0-9a-fA-F]+))/.exec(rest)
    if (!found) break
    const digits = found[1] ?? found[2] ?? ''
    numbers.push(BigInt.asUintN(64, digits === '' ? 0n : BigInt(`0x${digits}`)))
    rest = rest.slice(found[0].length)
  }
  return numbers
}

/** The entry that the text of `new_id` or `remove_id` means; undefined: fewer than vendor and device. */
export function parseIdText(text: string): FullDeviceId | undefined {
  const numbers = scanHex(text, 6).map((number) => Number(BigInt.asUintN(32, number)))
  const [vendor, device, subvendor = PCI_ANY_ID, subdevice = PCI_ANY_ID, classCode = 0, classMask = 0] = numbers
  if (vendor === undefined || device === undefined) return undefined
  return { vendor, device, subvendor, subdevice, classCode, classMask, overrideOnly: false }
}

/** The function that an entry describes, for asking whether a driver takes it already: ids are 16 bits wide. */
export function functionOfId(id: FullDeviceId): IdentifiedFunction {
  return {
    vendor: id.vendor & 0xffff,
    device: id.device & 0xffff,
    subsystemVendor: id.subvendor & 0xffff,
    subsystemDevice: id.subdevice & 0xffff,
    classCode: id.classCode,
  }
}

function field(wanted: number, actual: number): boolean {
  return wanted === PCI_ANY_ID || wanted === actual
}
