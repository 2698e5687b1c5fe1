/** Addresses of PCI functions: domain, bus, slot (device number) and function, written `0000:06:0d.0`. */
import { invalidArgType, invalidArgValue } from '../errors.ts'

/** Where a function sits. */
export interface PciAddress {
  /** 0 to 0xffff. */
  readonly domain: number
  /** 0 to 0xff. */
  readonly bus: number
  /** Device number, 0 to 31. */
  readonly slot: number
  /** Function number, 0 to 7. */
  readonly function: number
}

const FORM = /^([0-9a-fA-F]{4}):([0-9a-fA-F]{2}):([01][0-9a-fA-F])\.([0-7])$/

/** Reads `0000:06:0d.0`; undefined where the text is no address. */
export function matchPciAddress(text: string): PciAddress | undefined {
  const parts = FORM.exec(text)
  if (!parts) return undefined
  const [domain, bus, slot, fn] = parts.slice(1).map((part) => Number.parseInt(part, 16)) as [
    number,
    number,
    number,
    number,
  ]
  return { domain, bus, slot, function: fn }
}

/** Reads `0000:06:0d.0`. @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE */
export function parsePciAddress(text: unknown, argument = 'address'): PciAddress {
  if (typeof text !== 'string') throw invalidArgType(argument, 'a PCI address such as "0000:06:0d.0"', text)
  const address = matchPciAddress(text)
  if (!address)
    throw invalidArgValue(argument, `must be a PCI address such as "0000:06:0d.0". Received ${JSON.stringify(text)}`)
  return address
}

/** Writes an address as sysfs does. */
export function formatPciAddress(address: PciAddress): string {
  return `${busName(address.domain, address.bus)}:${hex(address.slot, 2)}.${address.function}`
}

/** Name of a bus, such as `0000:06`. */
export function busName(domain: number, bus: number): string {
  return `${hex(domain, 4)}:${hex(bus, 2)}`
}

/** Slot and function in one byte, as the specification has them. */
export function devfn(address: Pick<PciAddress, 'slot' | 'function'>): number {
  return (address.slot << 3) | address.function
}

/** Lower-case hexadecimal with leading zeros. */
export function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}
