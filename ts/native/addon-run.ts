/** The part of the addon that runs programs of the operating system. See `addon.ts` for its manners. */
import type { NativeAddressSpace, NativeEventFd, NativeMemory } from './addon.ts'

/** One step before a program starts; places and sources are absolute paths. */
export interface NativeRunAction {
  /**
   * An empty file system, a directory, an empty file, a link (`from`: target), a bind (`from`: what; behind `@` what was there
   * before the first step), the machine's files, or taking a mount away.
   */
  kind: 'empty' | 'directory' | 'file' | 'link' | 'bind' | 'machine' | 'remove'
  path: string
  from?: string
}

/** A program and its surroundings. */
export interface NativeRunPlan {
  program: string
  /** Its name first. */
  arguments: string[]
  /** `NAME=value` */
  environment: string[]
  directory: string
  actions: NativeRunAction[]
  /** Requests that wait for {@link NativeRun.answer}. */
  ioctls: number[]
}

/** Something that happened to a program; what does not apply is absent. */
export interface NativeRunMail {
  kind: 'ioctl' | 'read' | 'write' | 'ended'
  id?: bigint
  thread?: number
  fd?: number
  request?: number
  argument?: bigint
  token?: number
  node?: number
  offset?: number
  size?: number
  data?: Uint8Array
  code?: number
  signal?: number
  step?: string
  errno?: string
}

/** A program under way; the event loop goes on until `ended` was taken. */
export interface NativeRun {
  /** Why nothing was started. */
  failure(): { step: string; code: string } | null
  next(): NativeRunMail | null
  pid(): number
  answer(id: bigint, value: number): void
  pass(id: bigint): void
  /** Gives the caller of an ioctl a descriptor of a handle that the machine's files keep. @throws EMFILE, ENOENT it waits no more */
  install(id: bigint, handle: number): number
  accessed(token: number, data: Uint8Array): void
  refused(token: number): void
  signal(number: number): void
  kill(): void
}

/** What a descriptor of a process stands for. */
export interface NativeProcessFile {
  kind: 'handle' | 'eventfd' | 'memory' | 'other'
  handle?: number
  node?: number
}

/** A process of the operating system. */
export interface NativeProcess {
  readonly mm: NativeAddressSpace
  isAlive(): boolean
  /** Has its limits apply as they are now. @throws ESRCH */
  refresh(): void
  isCapable(capability: number): boolean
  /** @throws EBADF, ESRCH, EPERM, EMFILE */
  lookUp(fd: number): NativeProcessFile
  /** Takes part in an eventfd. @throws EBADF, EINVAL it is none, ESRCH */
  event(fd: number): NativeEventFd
  /** Takes part in a memfd. @throws EBADF, EINVAL it is empty, ESRCH */
  memory(fd: number): NativeMemory
}
