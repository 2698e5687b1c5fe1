/** Configuration space kept in JavaScript, for functions that nobody emulates and for bridges. */
import { CONFIG, type ConfigAccess } from './config-layout.ts'

/** Identity of a function. */
export interface PciIdentity {
  vendor: number
  device: number
  subsystemVendor?: number
  subsystemDevice?: number
  revision?: number
  /** 24 bits: base class, subclass, programming interface. */
  classCode?: number
}

/** A base address register. */
export interface PciBar {
  /** 0 to 5; a 64-bit BAR takes the next one too. */
  index: number
  /** A power of two, at least 16 (memory) or 4 (I/O). */
  size: number | bigint
  kind: 'memory32' | 'memory64' | 'io'
  prefetchable?: boolean
}

const SIZE = 4096
const STATUS_CAPABILITIES = 0x10

/** 4096 bytes, of which some bits can be written. */
export class ConfigSpace implements ConfigAccess {
  readonly #bytes = new Uint8Array(SIZE)
  readonly #writable = new Uint8Array(SIZE)
  #lastCapability = CONFIG.capabilities as number
  #lastExtended = 0

  constructor(identity: PciIdentity, headerType: number) {
    this.set(CONFIG.vendor, 2, identity.vendor)
    this.set(CONFIG.device, 2, identity.device)
    this.set(CONFIG.revision, 4, (((identity.classCode ?? 0) << 8) | (identity.revision ?? 0)) >>> 0)
    this.set(CONFIG.headerType, 1, headerType)
    if (headerType === 0) {
      this.set(CONFIG.subsystemVendor, 2, identity.subsystemVendor ?? 0)
      this.set(CONFIG.subsystemDevice, 2, identity.subsystemDevice ?? 0)
    }
    this.allow(CONFIG.command, 2, 0x0547)
    this.allow(CONFIG.interruptLine, 1, 0xff)
  }

  /** Sets what is read, whatever can be written. */
  set(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) this.#bytes[offset + i] = value >>> (8 * i)
  }

  /** Makes the bits of `mask` writable. */
  allow(offset: number, width: number, mask: number): void {
    for (let i = 0; i < width; i++) this.#writable[offset + i] = mask >>> (8 * i)
  }

  /** Adds a base address register. */
  bar(bar: PciBar): void {
    const at = CONFIG.bar0 + 4 * bar.index
    const mask = ~(BigInt(bar.size) - 1n)
    const type = bar.kind === 'io' ? 1 : (bar.kind === 'memory64' ? 4 : 0) | (bar.prefetchable ? 8 : 0)
    this.set(at, 4, type)
    this.allow(at, 4, Number(BigInt.asUintN(32, mask)) & (bar.kind === 'io' ? ~3 : ~15))
    if (bar.kind === 'memory64') this.allow(at + 4, 4, Number(BigInt.asUintN(32, mask >> 32n)))
  }

  /** Appends a capability of `length` bytes and returns its offset. */
  capability(id: number, at: number): number {
    this.set(CONFIG.status, 2, this.configRead(CONFIG.status, 2) | STATUS_CAPABILITIES)
    this.set(this.#lastCapability, 1, at)
    this.set(at, 1, id)
    this.#lastCapability = at + 1
    return at
  }

  /** Appends an extended capability and returns its offset; the first one stands at 0x100. */
  extended(id: number, version: number, at: number): number {
    if (this.#lastExtended !== 0) {
      this.set(this.#lastExtended, 4, (this.configRead(this.#lastExtended, 4) & 0x000f_ffff) | (at << 20))
    }
    this.set(at, 4, id | (version << 16))
    this.#lastExtended = at
    return at
  }

  configRead(offset: number, width: number): number {
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.#bytes[offset + i] ?? 0xff)
    return value
  }

  configWrite(offset: number, width: number, value: number): void {
    for (let i = 0; i < width && offset + i < SIZE; i++) {
      const mask = this.#writable[offset + i] ?? 0
      this.#bytes[offset + i] = ((this.#bytes[offset + i] ?? 0) & ~mask) | ((value >>> (8 * i)) & mask)
    }
  }
}
