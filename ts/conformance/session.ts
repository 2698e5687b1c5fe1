/** A scenario in progress: the machine, the process, and what its names stand for. */
import { HostMemory, type FileHandle, type HostProcess, type RegionMapping } from '../index.ts'
import { Machine } from './machine.ts'
import { Names } from './names.ts'
import { big, small, smallOr } from './number.ts'
import type { BufferSpec, Scenario } from './scenario.ts'

/** A buffer of the scenario's process. */
export interface Buffer {
  address: bigint
  length: number
}

/** Everything that steps work on. */
export class Session {
  readonly machine: Machine
  readonly process: HostProcess
  readonly names: Names
  readonly platform: string | undefined
  readonly pageSize: number
  readonly handles = new Map<string, FileHandle>()
  readonly mappings = new Map<string, RegionMapping>()
  readonly blobs = new Map<string, Uint8Array>()
  readonly #buffers = new Map<string, Buffer>()
  readonly #memories: HostMemory[] = []
  readonly #lockedAtStart: { VmLck: bigint; VmPin: bigint }
  #child: HostProcess | undefined

  constructor(scenario: Scenario) {
    const { env } = scenario
    this.platform = env.platform
    this.pageSize = smallOr(env.page_size, 4096)
    this.machine = new Machine(env)
    this.process = this.machine.host.process({
      dropCapabilities: env.caps_drop ?? [],
      ...(env.rlimit_memlock === undefined ? {} : { memlock: big(env.rlimit_memlock) }),
    })
    this.names = new Names({
      fd: (handle) => this.handles.get(handle)?.fd ?? -1,
      buffer: (name) => this.buffer(name).address,
      mapping: (name) => this.#mappingAddress(name),
      pointerTo: (value) => this.#pointerTo(value),
    })
    for (const [name, spec] of Object.entries(scenario.bufs)) this.#place(name, spec)
    this.#lockedAtStart = this.locked()
  }

  /** A buffer by name. @throws {Error} unknown */
  buffer(name: string): Buffer {
    const found = this.#buffers.get(name)
    if (found === undefined) throw new Error(`no buffer ${name}`)
    return found
  }

  /** Locked and pinned memory of the process, bytes. */
  locked(): { VmLck: bigint; VmPin: bigint } {
    const page = BigInt(this.pageSize)
    return { VmLck: this.process.lockedVm * page, VmPin: this.process.pinnedVm * page }
  }

  /** Bytes locked since the start. */
  lockedBytes(): bigint {
    return this.locked().VmLck - this.#lockedAtStart.VmLck
  }

  /** Change of one of the two counters since the start, in KiB. */
  lockedKib(field: 'VmLck' | 'VmPin'): bigint {
    return (this.locked()[field] - this.#lockedAtStart[field]) / 1024n
  }

  /** A forked child: another address space, the same open files. */
  child(): HostProcess {
    this.#child ??= this.process.fork()
    return this.#child
  }

  /** Ends the process, which closes everything, and the machine. */
  close(): void {
    for (const mapping of this.mappings.values()) mapping.close()
    this.#child?.exit()
    this.process.exit()
    for (const memory of this.#memories) memory.close()
    this.machine.close()
  }

  #place(name: string, spec: BufferSpec): void {
    const page = spec.kind === 'huge' ? small(spec.page ?? this.pageSize) : this.pageSize
    const length = small(spec.size)
    const whole = Math.ceil(length / page) * page
    const align = Math.max(smallOr(spec.align, 0), page)
    if (spec.kind === 'unmapped') {
      const memory = HostMemory.allocate(whole)
      const address = this.process.map(memory, { align: BigInt(align) })
      this.process.unmap(address, BigInt(whole))
      memory.close()
      this.#buffers.set(name, { address, length })
      return
    }
    const memory = HostMemory.allocate(whole, { kind: spec.kind === 'memfd' ? 'memfd' : 'anonymous' })
    this.#memories.push(memory)
    const fill = smallOr(spec.fill, 0)
    if (fill !== 0) memory.fill(fill)
    const address = this.process.map(memory, {
      align: BigInt(align),
      read: spec.prot !== 'none',
      write: spec.prot === undefined,
      ...(spec.kind === 'huge' ? { pageSize: page } : {}),
    })
    this.#buffers.set(name, { address, length })
    if (spec.kind === 'memfd') this.handles.set(name, this.process.openMemory(memory))
  }

  #mappingAddress(name: string): bigint {
    const mapping = this.mappings.get(name)
    if (mapping === undefined) throw new Error(`no mapping ${name}`)
    return this.process.addressOf(mapping)
  }

  #pointerTo(value: number): bigint {
    const memory = HostMemory.allocate(4096)
    this.#memories.push(memory)
    memory.writeU32(0, value >>> 0)
    return this.process.map(memory)
  }
}
