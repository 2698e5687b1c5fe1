/**
 * Where things lie in PCI configuration space, and a reader that finds out what a function is, as enumeration does.
 *
 * Source: PCI Local Bus Specification 3.0 chapter 6, PCI Express Base Specification 7.5 and 7.7.
 */

/** Offsets of the header. */
export const CONFIG = {
  vendor: 0x00,
  device: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  classCode: 0x09,
  headerType: 0x0e,
  bar0: 0x10,
  primaryBus: 0x18,
  secondaryBus: 0x19,
  subordinateBus: 0x1a,
  ioBase: 0x1c,
  ioLimit: 0x1d,
  memoryBase: 0x20,
  memoryLimit: 0x22,
  prefetchBase: 0x24,
  prefetchLimit: 0x26,
  prefetchBaseHigh: 0x28,
  prefetchLimitHigh: 0x2c,
  subsystemVendor: 0x2c,
  subsystemDevice: 0x2e,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
} as const

/** Bits of the command register. */
export const COMMAND = { io: 0x1, memory: 0x2, busMaster: 0x4, serr: 0x100, intxDisable: 0x400 } as const

/** Bit of the header type: the slot has more functions than this one. */
export const HEADER_MULTIFUNCTION = 0x80
/** Header type of a PCI-to-PCI bridge. */
export const HEADER_BRIDGE = 1

const STATUS_CAPABILITIES = 0x10
const CAPABILITY_EXPRESS = 0x10
const EXTENDED_ACS = 0x0d
const MAX_CAPABILITIES = 48
const MAX_EXTENDED = 256

/** Kinds of PCI Express functions: bits 4 to 7 of the PCI Express capabilities register. */
export const EXPRESS_TYPE = {
  endpoint: 0x0,
  legacyEndpoint: 0x1,
  rootPort: 0x4,
  upstreamPort: 0x5,
  downstreamPort: 0x6,
  pcieToPci: 0x7,
  pciToPcie: 0x8,
  rootComplexEndpoint: 0x9,
  eventCollector: 0xa,
} as const

/** Bits of the ACS capability and control registers. */
export const ACS = {
  sourceValidation: 0x01,
  requestRedirect: 0x04,
  completionRedirect: 0x08,
  upstreamForwarding: 0x10,
} as const

/** Configuration space of a function, as the host reaches it. */
export interface ConfigAccess {
  /** Reads 1, 2 or 4 bytes at an aligned offset. */
  configRead(offset: number, width: number): number
  /** Writes 1, 2 or 4 bytes at an aligned offset. */
  configWrite(offset: number, width: number, value: number): void
}

/** What enumeration finds out about a function. */
export interface PciHeader {
  readonly vendor: number
  readonly device: number
  readonly subsystemVendor: number
  readonly subsystemDevice: number
  readonly revision: number
  /** 24 bits: base class, subclass, programming interface. */
  readonly classCode: number
  /** Layout of the header: 0 function, 1 bridge. */
  readonly headerType: number
  /** The header says that the slot has several functions. */
  readonly multifunction: boolean
  /** 0 none, 1 INTA … 4 INTD. */
  readonly interruptPin: number
  /** Kind of PCI Express function, bits 4 to 7 of its capabilities register; undefined: conventional PCI. */
  readonly expressType: number | undefined
  /** Offset of the ACS capability; undefined: none. */
  readonly acs: number | undefined
}

/** Finds out what a function is. */
export function readHeader(config: ConfigAccess): PciHeader {
  const headerType = config.configRead(CONFIG.headerType, 1)
  const bridge = (headerType & 0x7f) === HEADER_BRIDGE
  const express = findCapability(config, CAPABILITY_EXPRESS)
  return {
    vendor: config.configRead(CONFIG.vendor, 2),
    device: config.configRead(CONFIG.device, 2),
    subsystemVendor: bridge ? 0 : config.configRead(CONFIG.subsystemVendor, 2),
    subsystemDevice: bridge ? 0 : config.configRead(CONFIG.subsystemDevice, 2),
    revision: config.configRead(CONFIG.revision, 1),
    classCode: config.configRead(CONFIG.revision, 4) >>> 8,
    headerType: headerType & 0x7f,
    multifunction: (headerType & HEADER_MULTIFUNCTION) !== 0,
    interruptPin: config.configRead(CONFIG.interruptPin, 1),
    expressType: express === undefined ? undefined : (config.configRead(express + 2, 2) >>> 4) & 0xf,
    acs: express === undefined ? undefined : findExtended(config, EXTENDED_ACS),
  }
}

/** Offset of a capability, where the function has it. */
export function findCapability(config: ConfigAccess, id: number): number | undefined {
  if ((config.configRead(CONFIG.status, 2) & STATUS_CAPABILITIES) === 0) return undefined
  let at = config.configRead(CONFIG.capabilities, 1) & 0xfc
  for (let left = MAX_CAPABILITIES; at >= 0x40 && left > 0; left--) {
    if (config.configRead(at, 1) === id) return at
    at = config.configRead(at + 1, 1) & 0xfc
  }
  return undefined
}

/** Offset of an extended capability, where the function has it. */
function findExtended(config: ConfigAccess, id: number): number | undefined {
  let at = 0x100
  for (let left = MAX_EXTENDED; at >= 0x100 && left > 0; left--) {
    const header = config.configRead(at, 4) >>> 0
    if (header === 0 || header === 0xffff_ffff) return undefined
    if ((header & 0xffff) === id) return at
    at = (header >>> 20) & 0xffc
  }
  return undefined
}
