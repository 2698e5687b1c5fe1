/** Runs programs of the operating system on a simulated machine. */
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, resolve } from 'node:path'
import { invalidArgType, VfioError } from '../errors.ts'
import { SoftwareHost } from '../host/software-host.ts'
import { list, record, text } from '../shape.ts'
import { givesDescriptor } from './interception.ts'
import type { ProgramEnd, RunOptions } from './options.ts'
import { Program } from './program.ts'
import { surroundings } from './surroundings.ts'

const IOAT = { vendor: '0x8086\n', device: '0x2021\n' }
const BDF = 'VFIO_SELFTESTS_BDF'

/** A program that was started on a machine. It keeps this one running until it has ended. */
export class RunningProgram {
  readonly #program: Program

  /**
   * Made by {@link runProgram}.
   * @internal
   */
  constructor(program: Program) {
    this.#program = program
  }

  /** Number of its first process; 0 when it has ended. */
  get pid(): number {
    return this.#program.pid
  }

  /** Fulfilled when it and all that came of it are gone. */
  get ended(): Promise<ProgramEnd> {
    return this.#program.ended
  }

  /** Sends its first process a signal, by number; the default ends it (SIGTERM). */
  signal(number = 15): void {
    this.#program.signal(number)
  }

  /** Kills it and all that came of it (idempotent). */
  close(): void {
    this.#program.kill()
  }

  /** Kills it. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Kills it and waits for the end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
    await this.ended
  }
}

/**
 * Starts a program in a mount namespace of its own, in which `/dev/vfio`, `/dev/iommu` and the machine's part of `/sys` belong to
 * `host`. It needs no changes: it opens, sends ioctls, maps and forks as with the kernel's. Standard input and output are this
 * process's.
 *
 * This thread serves it: it must not wait synchronously for the program, nor for anything that does.
 * @throws {TypeError} a value of the wrong shape
 * @throws {VfioError} EOPNOTSUPP not x86-64 Linux with FUSE, ENOENT no such program, EACCES, EPERM a right is missing, and the errno of
 *   the step that was refused
 */
export async function runProgram(
  host: SoftwareHost,
  program: string,
  options: RunOptions = {},
): Promise<RunningProgram> {
  if (!(host instanceof SoftwareHost)) throw invalidArgType('host', 'a SoftwareHost', host)
  const { args = [], env = process.env, cwd = process.cwd() } = record(options, 'options')
  const environment = { ...record(env, 'env') }
  const path = find(text(program, 'program'), environment['PATH'] ?? '', text(cwd, 'cwd'))
  const ioat = firstIoat(host)
  if (environment[BDF] === undefined && ioat !== undefined) environment[BDF] = ioat
  const plan = {
    program: path,
    arguments: [program, ...list(args, 'args').map((argument) => text(argument, 'args'))],
    environment: Object.entries(environment).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}=${value}`],
    ),
    directory: cwd,
    actions: surroundings(host.sysfs),
    ioctls: [...givesDescriptor],
  }
  const started = new Program(host.machine)
  await started.start(host, plan)
  return new RunningProgram(started)
}

/** The file of a program, looked for as a shell does. @throws {VfioError} ENOENT, EACCES */
function find(program: string, path: string, cwd: string): string {
  const candidates = program.includes('/')
    ? [resolve(cwd, program)]
    : path.split(delimiter).map((directory) => resolve(cwd, directory, program))
  for (const candidate of candidates) {
    if (statSync(candidate, { throwIfNoEntry: false })?.isFile() !== true) continue
    try {
      accessSync(candidate, constants.X_OK)
      return candidate
    } catch {
      if (program.includes('/')) throw new VfioError('EACCES', 'run', { path: candidate })
    }
  }
  throw new VfioError('ENOENT', 'run', { path: program, reason: 'there is no such program' })
}

function firstIoat({ sysfs }: SoftwareHost): string | undefined {
  const devices = '/sys/bus/pci/devices'
  const has = (name: string, attribute: 'vendor' | 'device'): boolean =>
    sysfs.read(`${devices}/${name}/${attribute}`) === IOAT[attribute]
  return sysfs.list(devices).find((name) => has(name, 'vendor') && has(name, 'device'))
}
