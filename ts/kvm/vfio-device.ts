/** The VFIO device of a virtual machine (`KVM_DEV_TYPE_VFIO`): which groups and devices the machine uses. */
import { VfioError } from '../errors.ts'
import type { HeldFile } from './held-file.ts'

/** Kinds of files that are VFIO's. */
const VFIO_FILES = new Set(['vfio-group', 'vfio-device'])
const OPERATION = 'KVM_SET_DEVICE_ATTR'

/** Gives the group behind a file a TCE table of the guest. @throws {VfioError} */
export type SpaprTceAttacher = (group: HeldFile['file'], table: HeldFile['file']) => void

/** Holds the files that the machine uses until they are taken away or the device is closed. */
export class KvmVfioDevice {
  /** Gives groups TCE tables, where the machine can. */
  readonly setSpaprTce: SpaprTceAttacher | undefined
  readonly #files = new Map<HeldFile['file'], HeldFile>()
  readonly #machine: object
  readonly #gone: () => void
  #closed = false

  /** `machine` is told to the files that it uses; `gone` runs when it is closed. */
  constructor(machine: object, setSpaprTce: SpaprTceAttacher | undefined, gone: () => void) {
    this.#machine = machine
    this.setSpaprTce = setSpaprTce
    this.#gone = gone
  }

  /** How many files it holds. */
  get size(): number {
    return this.#files.size
  }

  /** Tells whether it holds a file. */
  has(file: HeldFile['file']): boolean {
    return this.#files.has(file)
  }

  /**
   * Takes a file over, which it holds from now on (`KVM_DEV_VFIO_FILE_ADD`). Where it refuses, the hold is released.
   * @throws {VfioError} EINVAL no file of VFIO, EEXIST it is there
   */
  add(held: HeldFile): void {
    const { file } = held
    const known = this.#files.has(file)
    if (!known && VFIO_FILES.has(file.kind)) {
      this.#files.set(file, held)
      file.setMachine?.(this.#machine)
      return
    }
    held.release()
    if (known) throw new VfioError('EEXIST', OPERATION, { reason: 'the file was added already' })
    throw new VfioError('EINVAL', OPERATION, { reason: `a ${file.kind} file is neither a group's nor a device's` })
  }

  /** Lets a file go (`KVM_DEV_VFIO_FILE_DEL`). @throws {VfioError} ENOENT it was not added */
  delete(file: HeldFile['file']): void {
    const held = this.#files.get(file)
    if (held === undefined) throw new VfioError('ENOENT', OPERATION, { reason: 'the file was not added' })
    this.#files.delete(file)
    file.setMachine?.(undefined)
    held.release()
  }

  /** Lets all files go (idempotent); the machine can have another such device. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const files = [...this.#files.values()]
    this.#files.clear()
    this.#gone()
    for (const held of files) {
      held.file.setMachine?.(undefined)
      held.release()
    }
  }
}
