/**
 * The parts of v86 that putting a device on its PCI bus takes. v86 publishes no types for them; the names are properties
 * that its build keeps. Written against v86 0.5.462.
 */

/** A `WebAssembly.Memory`, of which v86's grows while the machine runs. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

/** Reads at an address; a value is signed or unsigned, and so is the address. */
export type Read = (address: number) => number

/** Writes to an address; the value may come signed. */
export type Write = (address: number, value: number) => void

/** Reads at the I/O port that it is registered for. */
export type PortRead = () => number

/** Writes to the I/O port that it is registered for. */
export type PortWrite = (value: number) => void

/** What answers at one I/O port. */
export interface PortEntry {
  device: unknown
}

/** The I/O ports and what reaches memory that is not RAM. */
export interface Io {
  readonly ports: PortEntry[]
  create_empty_entry(): PortEntry
  register_read(port: number, device: unknown, read8: PortRead, read16: PortRead, read32: PortRead): void
  register_write(port: number, device: unknown, write8: PortWrite, write16: PortWrite, write32: PortWrite): void
  /** Takes blocks of 128 KiB. */
  mmap_register(address: number, length: number, read8: Read, write8: Write, read32: Read, write32: Write): void
}

/** The PCI host bridge. A function is known by its bus, device and function number in one number. */
export interface Pci {
  /** What was written to 0xcf8, byte by byte. */
  readonly pci_addr: Uint8Array
  /** What 0xcfc answers; set when 0xcf8 is written. */
  readonly pci_response32: Int32Array
  readonly pci_status32: Int32Array
  readonly device_spaces: (Int32Array | undefined)[]
  readonly devices: unknown[]
  pci_query(): void
  pci_write8(address: number, value: number): void
  pci_write16(address: number, value: number): void
  pci_write32(address: number, value: number): void
  register_device(device: { pci_id: number; pci_space: number[]; pci_bars: []; name: string }): Int32Array
  /** Asserts the interrupt line that the function's pin is routed to. */
  raise_irq(id: number): void
  lower_irq(id: number): void
}

/** The machine. */
export interface Cpu {
  /** Bytes of RAM, in its only element. */
  readonly memory_size: ArrayLike<number>
  /** A stand-in for an array over RAM, which looks the memory up at each use. */
  readonly mem8: { readonly byteOffset: number }
  readonly wasm_memory: WasmMemory
  readonly io: Io
  readonly devices: { readonly pci: Pci }
  readonly memory_map_read8: (Read | undefined)[]
  readonly memory_map_write8: (Write | undefined)[]
  readonly memory_map_read32: (Read | undefined)[]
  readonly memory_map_write32: (Write | undefined)[]
  /** Forgets what was compiled of the code in a range of RAM. */
  jit_dirty_cache(start: number, end: number): void
  /** Where the states of the two interrupt controllers lie in the memory of WebAssembly. */
  get_pic_addr_master(): number
  get_pic_addr_slave(): number
}

/** Gets at the inside of an emulator, once it is ready. @throws {Error} it is not ready, or another v86 than this is written for */
export function insideOf(emulator: object): Cpu {
  const { v86 } = emulator as { v86?: { cpu?: Partial<Cpu> } }
  const cpu = v86?.cpu
  const expected = ['wasm_memory', 'mem8', 'io', 'devices', 'jit_dirty_cache', 'get_pic_addr_master'] as const
  const missing = expected.filter((name) => cpu?.[name] === undefined)
  if (missing.length > 0) throw new Error(`v86 is not ready, or has changed: its CPU has no ${missing.join(', ')}`)
  return cpu as Cpu
}
