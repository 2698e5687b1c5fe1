/** A process of the operating system as the machine's files see their caller. */
import { EventSink } from '../device/event-sink.ts'
import type { EventTarget64 } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import { MemoryFile } from '../files/memory-file.ts'
import type { Caller, HeldFile, OpenFile } from '../files/open-file.ts'
import { allCapabilities } from '../host/capability.ts'
import type { MachineProcess } from '../host/process-machine.ts'
import { HostMemory } from '../memory/host-memory.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import type { NativeProcess } from '../native/addon-run.ts'

/** An open file of the machine that a process has under some number. */
export interface KnownFile {
  readonly file: OpenFile
  hold(): HeldFile
}

/** Finds files by handle, and gives descriptors out. */
export interface FileTable {
  /** The machine's file behind a handle. */
  known(handle: number): KnownFile | undefined
  /** Gives whoever waits for the ioctl `id` a descriptor. @throws {VfioError} EMFILE */
  install(id: bigint, file: OpenFile): number
}

/** A process, as long as it lives. */
export class ForeignProcess implements MachineProcess {
  readonly pid: number
  readonly uid: number
  readonly gid: number
  readonly #native: NativeProcess
  readonly #files: FileTable

  constructor(native: NativeProcess, files: FileTable, who: { pid: number; uid: number; gid: number }) {
    this.#native = native
    this.#files = files
    this.pid = who.pid
    this.uid = who.uid
    this.gid = who.gid
  }

  get mm(): NativeAddressSpace {
    return this.#native.mm
  }

  /** Whether it still runs. */
  get alive(): boolean {
    return this.#native.isAlive()
  }

  /** The process as the caller of something; `ioctl` names what it waits in, where that may give descriptors. */
  caller(ioctl?: bigint): Caller {
    this.#native.refresh()
    return {
      mm: this.mm,
      capable: (capability) => this.capable(capability),
      place: () => {
        throw new VfioError('EOPNOTSUPP', 'mmap', { reason: 'nothing can be mapped into a program from outside' })
      },
      file: (fd) => this.#file(fd)?.file,
      hold: (fd) => this.#file(fd)?.hold(),
      install: (file) => {
        if (ioctl !== undefined) return this.#files.install(ioctl, file)
        throw new VfioError('EMFILE', 'ioctl', { reason: 'the program takes no descriptors here' })
      },
      remove: () => {
        // It stays with the program, which gave an address at which it could not be told.
      },
    }
  }

  /** Tells whether it has a capability such as `'CAP_SYS_RAWIO'`. */
  capable(capability: string): boolean {
    const number = (allCapabilities as readonly string[]).indexOf(capability)
    return number >= 0 && this.#native.isCapable(number)
  }

  /** It has ended: the machine lets its memory go. */
  exit(): void {
    this.mm.close()
  }

  /** Handle of the machine's file behind a descriptor, if it is one. */
  handleOf(fd: number): number | undefined {
    const found = this.#lookUp(fd)
    return found?.kind === 'handle' ? found.handle : undefined
  }

  #file(fd: number): KnownFile | undefined {
    const found = this.#lookUp(fd)
    switch (found?.kind) {
      case 'handle':
        return this.#files.known(found.handle ?? 0)
      case 'eventfd':
        return unshared(new ForeignEvent(new EventSink(this.#native.event(fd))))
      case 'memory':
        return unshared(new MemoryFile(HostMemory.fromNative(this.#native.memory(fd))))
      case 'other':
        return unshared({ kind: 'other' })
      default:
        return undefined
    }
  }

  #lookUp(fd: number) {
    try {
      return this.#native.lookUp(fd)
    } catch (error) {
      if (error instanceof VfioError && error.code === 'EBADF') return undefined
      throw error
    }
  }
}

/** An eventfd of the process itself. */
class ForeignEvent implements OpenFile {
  readonly kind = 'eventfd'
  readonly #sink: EventTarget64

  constructor(sink: EventTarget64) {
    this.#sink = sink
  }

  event(): EventTarget64 {
    return this.#sink
  }
}

/** A file that was taken over for this one use. */
function unshared(file: OpenFile): KnownFile {
  return { file, hold: () => ({ file, release: () => {} }) }
}
