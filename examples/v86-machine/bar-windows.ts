/** Where base address registers lie: at I/O ports, or in blocks of addresses above RAM. */
import type { Cpu, Read, Write } from './v86-inside.ts'

/** Bytes of an access. */
export type Width = 1 | 2 | 4

/** A piece of a device that answers accesses; `offset` counts from its first byte. Neither throws. */
export interface Window {
  readonly size: number
  read(offset: number, width: Width): number
  write(offset: number, width: Width, value: number): void
}

/** Something in its place; `remove` takes it away again. */
export interface Placed {
  remove(): void
}

const BLOCK_SHIFT = 17
const BLOCK = 1 << BLOCK_SHIFT
const PORTS = 0x10000

/** Puts a window at I/O ports. Ports where something answers already keep answering as they do. */
export function placeAtPorts(cpu: Cpu, window: Window, base: number): Placed {
  const { io } = cpu
  const taken: number[] = []
  for (let port = base; port < Math.min(base + window.size, PORTS); port++) {
    if (io.ports[port]?.device !== undefined) continue
    const offset = port - base
    const read = (width: Width) => () => window.read(offset, width)
    const write = (width: Width) => (value: number) => window.write(offset, width, value)
    io.register_read(port, window, read(1), read(2), read(4))
    io.register_write(port, window, write(1), write(2), write(4))
    taken.push(port)
  }
  return {
    remove: () => {
      for (const port of taken) io.ports[port] = io.create_empty_entry()
    },
  }
}

interface Block {
  readonly windows: Map<Window, number>
  /** What answered here before, and answers where no window is. */
  readonly before: { read8: Read; write8: Write; read32: Read; write32: Write }
}

/**
 * The windows in memory addresses. v86 directs accesses by blocks of 128 KiB, so a block may hold several windows, and what
 * is beside them still belongs to whoever had the block.
 */
export class MemoryWindows {
  readonly #cpu: Cpu
  readonly #blocks = new Map<number, Block>()

  constructor(cpu: Cpu) {
    this.#cpu = cpu
  }

  /** Puts a window at an address; where RAM is, or past 4 GiB, nothing appears. */
  place(window: Window, base: number): Placed {
    const ram = this.#cpu.memory_size[0] ?? 0
    if (base < ram || base + window.size > 2 ** 32) return { remove: () => {} }
    const first = Math.floor(base / BLOCK)
    const last = Math.floor((base + window.size - 1) / BLOCK)
    for (let number = first; number <= last; number++) this.#block(number).windows.set(window, base)
    return {
      remove: () => {
        for (let number = first; number <= last; number++) this.#leave(number, window)
      },
    }
  }

  #block(number: number): Block {
    const there = this.#blocks.get(number)
    if (there !== undefined) return there
    const { memory_map_read8, memory_map_write8, memory_map_read32, memory_map_write32, io } = this.#cpu
    const before = {
      read8: memory_map_read8[number] ?? (() => 0xff),
      write8: memory_map_write8[number] ?? (() => {}),
      read32: memory_map_read32[number] ?? (() => -1),
      write32: memory_map_write32[number] ?? (() => {}),
    }
    const block: Block = { windows: new Map(), before }
    const find = (address: number): [Window, number] | undefined => {
      for (const [window, base] of block.windows) {
        if (address >= base && address < base + window.size) return [window, address - base]
      }
      return undefined
    }
    const read = (width: Width, otherwise: Read) => (address: number) => {
      const [window, offset] = find(address >>> 0) ?? []
      return window === undefined || offset === undefined ? otherwise(address) : window.read(offset, width)
    }
    const write = (width: Width, otherwise: Write) => (address: number, value: number) => {
      const [window, offset] = find(address >>> 0) ?? []
      if (window === undefined || offset === undefined) otherwise(address, value)
      else window.write(offset, width, value)
    }
    io.mmap_register(
      number * BLOCK,
      BLOCK,
      read(1, before.read8),
      write(1, before.write8),
      read(4, before.read32),
      write(4, before.write32),
    )
    this.#blocks.set(number, block)
    return block
  }

  #leave(number: number, window: Window): void {
    const block = this.#blocks.get(number)
    if (block === undefined || !block.windows.delete(window) || block.windows.size > 0) return
    this.#blocks.delete(number)
    this.#cpu.memory_map_read8[number] = block.before.read8
    this.#cpu.memory_map_write8[number] = block.before.write8
    this.#cpu.memory_map_read32[number] = block.before.read32
    this.#cpu.memory_map_write32[number] = block.before.write32
  }
}
