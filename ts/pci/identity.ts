/** Turns identities as users write them into numbers. */
import { invalidArgType, invalidArgValue, outOfRange } from '../errors.ts'
import type { PciIdentity } from './config-space.ts'
import type { PciFunctionOptions } from './hardware.ts'

const PAIR = /^([0-9a-fA-F]{4}):([0-9a-fA-F]{4})$/

/** Reads `vendor:device`. @throws {TypeError} ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE */
export function parsePciId(text: unknown, argument = 'id'): [vendor: number, device: number] {
  if (typeof text !== 'string') throw invalidArgType(argument, 'a string such as "1102:0002"', text)
  const parts = PAIR.exec(text)
  if (!parts)
    throw invalidArgValue(argument, `must be "vendor:device" in hexadecimal. Received ${JSON.stringify(text)}`)
  return [Number.parseInt(parts[1] as string, 16), Number.parseInt(parts[2] as string, 16)]
}

/** Completes an identity. @throws {TypeError} a value of the wrong shape */
export function identityOf(options: PciFunctionOptions, defaults: PciIdentity): PciIdentity {
  const [vendor, device] = options.id === undefined ? [defaults.vendor, defaults.device] : parsePciId(options.id)
  const [subsystemVendor, subsystemDevice] =
    options.subsystem === undefined
      ? [defaults.subsystemVendor ?? 0, defaults.subsystemDevice ?? 0]
      : parsePciId(options.subsystem, 'subsystem')
  return {
    vendor,
    device,
    subsystemVendor,
    subsystemDevice,
    revision: bits(options.revision ?? defaults.revision ?? 0, 8, 'revision'),
    classCode: bits(options.classCode ?? defaults.classCode ?? 0, 24, 'classCode'),
  }
}

function bits(value: unknown, width: number, argument: string): number {
  if (typeof value !== 'number') throw invalidArgType(argument, 'a number', value)
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** width)
    throw outOfRange(argument, `an integer of ${width} bits`, value)
  return value
}
