/** What the `.node` file exports for running programs, as callers see it. */
import { AddressSpaceHandle } from './address-space.ts'
import type { NativeAddressSpace, NativeEventFd, NativeMemory } from './addon.ts'
import type { NativeProcess, NativeProcessFile, NativeRun, NativeRunPlan } from './addon-run.ts'
import type { Binding, BindingAddressSpace, BindingEventFd, BindingMemory } from './binding.ts'
import { EventFdHandle } from './event-fd.ts'
import { MemoryHandle } from './memory.ts'
import { syscall } from './syscall.ts'

interface BindingProcess {
  isAlive(): boolean
  refresh(): void
  isCapable(capability: number): boolean
  lookUp(fd: number): NativeProcessFile
  event(fd: number): BindingEventFd
  memory(fd: number): BindingMemory
}

/** The part of the `.node` file; absent on systems where programs cannot be run on a machine. */
export interface RunBinding extends Binding {
  runProgram?(plan: NativeRunPlan, machine: number, wake: () => void): Promise<NativeRun>
  NativeProcess?: new (mm: BindingAddressSpace, machine: number) => BindingProcess
}

/** The part of the addon. */
export interface RunAddon {
  /** Absent on systems where programs cannot be run on a machine. */
  readonly runProgram: RunBinding['runProgram'] | undefined
  /** A process of the operating system; `machine` is a descriptor of the machine's files. @throws ESRCH, EINVAL, EMFILE */
  nativeProcess(pid: number, machine: number): NativeProcess
}

/** Takes it out of the `.node` file. */
export function runAddon(raw: RunBinding): RunAddon {
  return {
    runProgram: raw.runProgram,
    nativeProcess: (pid, machine) => new ProcessHandle(raw, pid, machine),
  }
}

class ProcessHandle implements NativeProcess {
  readonly mm: NativeAddressSpace
  readonly #raw: Binding
  readonly #owner: BindingProcess

  constructor(raw: RunBinding, pid: number, machine: number) {
    const { NativeAddressSpace: spaces, NativeProcess: processes } = raw
    if (spaces.ofProcess === undefined || processes === undefined) throw new Error('this system has no such processes')
    const made = spaces.ofProcess(pid, machine)
    this.mm = new AddressSpaceHandle(raw, { memlock: 0n, capIpcLock: false }, made)
    this.#raw = raw
    this.#owner = new processes(made, machine)
  }

  isAlive(): boolean {
    return this.#owner.isAlive()
  }

  refresh(): void {
    syscall('ioctl', () => this.#owner.refresh())
  }

  isCapable(capability: number): boolean {
    return this.#owner.isCapable(capability)
  }

  lookUp(fd: number): NativeProcessFile {
    return syscall('pidfd_getfd', () => this.#owner.lookUp(fd))
  }

  event(fd: number): NativeEventFd {
    return new EventFdHandle(
      this.#raw,
      syscall('pidfd_getfd', () => this.#owner.event(fd)),
    )
  }

  memory(fd: number): NativeMemory {
    return new MemoryHandle(
      this.#raw,
      syscall('pidfd_getfd', () => this.#owner.memory(fd)),
    )
  }
}
