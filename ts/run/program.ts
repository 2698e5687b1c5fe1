/**
 * A program of the operating system on a simulated machine.
 *
 * It starts in a mount namespace of its own, in which `/dev/vfio`, `/dev/iommu` and the machine's part of `/sys` are files that
 * this thread serves. What it asks of them comes here with its own addresses and descriptors, and goes through the file door.
 */
import { closeSync, existsSync, readFileSync } from 'node:fs'
import { VfioError, warnOfModel } from '../errors.ts'
import type { Caller, OpenFile } from '../files/open-file.ts'
import { FuseSession } from '../fuse/session.ts'
import type { DevNode } from '../host/dev-tree.ts'
import type { ProcessMachine } from '../host/process-machine.ts'
import { ShownDev } from '../host/shown-dev.ts'
import type { SoftwareHost } from '../host/software-host.ts'
import { MachineFiles } from '../mount/machine-files.ts'
import type { OpenedNode, ShownTree } from '../mount/shown.ts'
import { ShownSysfs } from '../mount/shown-sysfs.ts'
import type { NativeRun, NativeRunMail, NativeRunPlan } from '../native/addon-run.ts'
import { addon } from '../native/load.ts'
import { later, syscall } from '../native/syscall.ts'
import { ERRNO, type ErrnoName } from '../uapi/errno.ts'
import { ForeignProcess, type FileTable } from './foreign-process.ts'
import { NodeFile } from './node-file.ts'
import type { ProgramEnd } from './options.ts'

/** How often processes that have ended are looked for, in milliseconds. */
const SWEEP = 500

/** A program under way, and the processes that came of it. */
export class Program implements FileTable {
  readonly ended: Promise<ProgramEnd>
  readonly #machine: ProcessMachine
  readonly #processes = new Map<number, ForeignProcess>()
  readonly #byThread = new Map<number, ForeignProcess>()
  readonly #mapped = new Map<number, Set<NodeFile>>()
  readonly #callerOf = (thread: number, ioctl?: bigint): Caller => this.#process(thread).caller(ioctl)
  #files: MachineFiles | undefined
  #session: FuseSession | undefined
  #native: NativeRun | undefined
  #machineFd = -1
  #sweeper: NodeJS.Timeout | undefined
  #end: (end: ProgramEnd) => void = () => {}

  constructor(machine: ProcessMachine) {
    this.#machine = machine
    this.ended = new Promise((resolve) => (this.#end = resolve))
  }

  /** Number of the program's first process; 0 when it has ended. */
  get pid(): number {
    return this.#native?.pid() ?? 0
  }

  /** Mounts the machine's files and starts the program. @throws {VfioError} what was refused */
  async start(host: SoftwareHost, plan: NativeRunPlan): Promise<void> {
    const { runProgram } = addon()
    if (runProgram === undefined) {
      throw new VfioError('EOPNOTSUPP', 'run', { reason: 'programs can be run on x86-64 Linux only' })
    }
    const files = new MachineFiles(this.#trees(host))
    this.#files = files
    this.#session = await FuseSession.detached({ name: 'vfio', passthrough: true }, files)
    this.#machineFd = this.#session.mountFd()
    try {
      const native = await later('run', () => runProgram(plan, this.#machineFd, () => this.#pump()))
      const failure = native.failure()
      if (failure !== null) throw refusal(failure)
      this.#native = native
    } catch (error) {
      await this.#close()
      throw error
    }
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP).unref()
    this.#pump() // what came before anybody could look
  }

  /** Sends the program's first process a signal. */
  signal(number: number): void {
    this.#native?.signal(number)
  }

  /** Kills the program and all that came of it. */
  kill(): void {
    this.#native?.kill()
  }

  known(handle: number): NodeFile | undefined {
    const opened = this.#files?.opened(handle)
    return opened instanceof NodeFile ? opened : undefined
  }

  install(id: bigint, file: OpenFile): number {
    const [files, native] = [this.#files, this.#native]
    if (files === undefined || native === undefined) throw new VfioError('EMFILE', 'ioctl')
    const kept: { handle: number } = { handle: 0 }
    const opened = new NodeFile(file, this.#callerOf, () => this.#mapped.delete(nodeOf(kept.handle)))
    kept.handle = files.keep(opened)
    try {
      const fd = syscall('install', () => native.install(id, kept.handle))
      this.#mapped.set(nodeOf(kept.handle), new Set([opened]))
      return fd
    } catch (error) {
      files.drop(kept.handle) // the file stays its giver's
      throw error
    }
  }

  #trees(host: SoftwareHost): Map<string, ShownTree> {
    const open = (node: DevNode, _path: string, { tid, node: number }: { tid: number; node: number }): OpenedNode =>
      this.#open(node, tid, number)
    return new Map<string, ShownTree>([
      ['dev', new ShownDev(host.dev, open)],
      ['sys', new ShownSysfs(host.sysfs)],
    ])
  }

  #open(node: DevNode, thread: number, number: number): NodeFile {
    const file = node.open(this.#callerOf(thread))
    const opened: NodeFile = new NodeFile(file, this.#callerOf, () => this.#mapped.get(number)?.delete(opened))
    if (file.mmap !== undefined) {
      const there = this.#mapped.get(number) ?? new Set()
      this.#mapped.set(number, there.add(opened))
    }
    return opened
  }

  #pump(): void {
    for (let mail = this.#native?.next(); mail != null; mail = this.#native?.next()) this.#take(mail)
  }

  #take(mail: NativeRunMail): void {
    switch (mail.kind) {
      case 'ioctl':
        return this.#ioctl(mail)
      case 'read':
      case 'write':
        return this.#access(mail)
      case 'ended':
        return void this.#finish(mail)
    }
  }

  #ioctl({ id = 0n, thread = 0, fd = -1, request = 0, argument = 0n }: NativeRunMail): void {
    const native = this.#native
    try {
      const process = this.#process(thread)
      const caller = process.caller(id)
      const file = this.#ours(process, fd)
      if (file === undefined) native?.pass(id)
      else native?.answer(id, file.request(caller, request, argument))
    } catch (error) {
      if (!(error instanceof VfioError)) warnOfModel(error)
      native?.answer(id, -ERRNO[error instanceof VfioError ? error.code : 'EIO'])
    }
  }

  /** The machine's file behind a descriptor, if it is one. */
  #ours(process: ForeignProcess, fd: number): NodeFile | undefined {
    const handle = process.handleOf(fd)
    return handle === undefined ? undefined : this.known(handle)
  }

  /** An access to a mapping, by whatever process. */
  #access({ kind, token = 0, node = 0, offset = 0, size = 0, data }: NativeRunMail): void {
    for (const file of this.#mapped.get(node) ?? []) {
      try {
        const caller = this.#anybody()
        if (kind === 'read') this.#native?.accessed(token, file.readMapped(caller, offset, size))
        else {
          file.writeMapped(caller, offset, data ?? new Uint8Array(0))
          this.#native?.accessed(token, new Uint8Array(0))
        }
        return
      } catch (error) {
        if (!(error instanceof VfioError)) warnOfModel(error)
      }
    }
    this.#native?.refused(token)
  }

  #anybody(): Caller {
    const first = [...this.#processes.values()].find(({ alive }) => alive)
    if (first === undefined) throw new VfioError('ESRCH', 'mmap')
    return first.caller()
  }

  /** The process that a thread belongs to. @throws {VfioError} ESRCH it has ended */
  #process(thread: number): ForeignProcess {
    const known = this.#byThread.get(thread)
    if (known?.alive === true && existsSync(`/proc/${known.pid}/task/${thread}`)) return known
    const who = identityOf(thread)
    let process = this.#processes.get(who.pid)
    if (process?.alive !== true) {
      this.#forget(process)
      const native = syscall('open', () => addon().nativeProcess(who.pid, this.#machineFd))
      process = new ForeignProcess(native, this, who)
      this.#processes.set(who.pid, process)
      this.#machine.started(process)
    }
    this.#byThread.set(thread, process)
    return process
  }

  #sweep(): void {
    for (const process of this.#processes.values()) if (!process.alive) this.#forget(process)
  }

  #forget(process: ForeignProcess | undefined): void {
    if (process === undefined) return
    this.#processes.delete(process.pid)
    for (const [thread, owner] of this.#byThread) if (owner === process) this.#byThread.delete(thread)
    process.exit()
    this.#machine.exited(process)
  }

  async #finish({ code, signal, step, errno }: NativeRunMail): Promise<void> {
    this.#native = undefined
    await this.#close()
    if (step !== undefined) this.#end({ failure: refusal({ step, code: errno ?? 'EIO' }) })
    else this.#end(signal === undefined ? { code: code ?? 0 } : { signal })
  }

  async #close(): Promise<void> {
    clearInterval(this.#sweeper)
    await this.#session?.close()
    if (this.#machineFd >= 0) closeSync(this.#machineFd)
    this.#machineFd = -1
    for (const process of [...this.#processes.values()]) this.#forget(process)
  }
}

/** Nodes of files that no name led to. */
const HANDLE_NODES = 2 ** 51

function nodeOf(handle: number): number {
  return HANDLE_NODES + handle
}

/** Process, user and group of a thread. @throws {VfioError} ESRCH */
function identityOf(thread: number): { pid: number; uid: number; gid: number } {
  try {
    const text = readFileSync(`/proc/${thread}/status`, 'latin1')
    const field = (name: string, at: number): number => Number(text.split(`\n${name}:`)[1]?.trim().split(/\s+/)[at])
    return { pid: field('Tgid', 0), uid: field('Uid', 1), gid: field('Gid', 1) }
  } catch {
    throw new VfioError('ESRCH', 'open', { reason: `there is no thread ${thread}` })
  }
}

/** Says what to do about something that was refused. */
function refusal({ step, code }: { step: string; code: string }): VfioError {
  const remedy = code === 'EPERM' ? 'run as root: this needs CAP_SYS_ADMIN and CAP_SYS_PTRACE' : undefined
  const known = (Object.hasOwn(ERRNO, code) ? code : 'EIO') as ErrnoName
  return new VfioError(known, 'run', { reason: step, ...(remedy === undefined ? {} : { remedy }) })
}
