/**
 * An iommufd: its objects, and what an open of `/dev/iommu` shares with the devices bound to it (`struct iommufd_ctx`).
 *
 * It lives as long as anybody holds it: the file, bound devices, groups that use it as a container, files of its objects.
 */
import { VfioError } from '../errors.ts'
import type { NativeFaultLog } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { AttachGroup } from './device.ts'
import { IoasObject } from './ioas.ts'
import { ObjectTable } from './object.ts'
import { RegisterPages } from './register-pages.ts'

/** Settings of an iommufd. */
export interface IommufdOptions {
  /** Answers `IOMMU_TEST_CMD`. */
  tests?: boolean
  /** All that are open on the machine, this one among them as long as it is. */
  open?: Set<IommufdContext>
}

/** An open iommufd. */
export class IommufdContext {
  readonly objects = new ObjectTable()
  /** Registers that can be mapped. */
  readonly registers = new RegisterPages()
  readonly tests: boolean
  /** Charge the process rather than its user (`IOMMU_OPTION_RLIMIT_MODE`). */
  chargeProcess = false
  /** Groups without isolation use it as their container. */
  noIommu = false
  readonly #open: Set<IommufdContext>
  readonly #groups = new WeakMap<object, AttachGroup>()
  #compat: IoasObject | undefined
  #faults: NativeFaultLog | undefined
  #holds = 1

  constructor(options: IommufdOptions = {}) {
    this.tests = options.tests ?? false
    this.#open = options.open ?? new Set()
    this.#open.add(this)
  }

  /** All that are open on the machine. */
  get neighbours(): ReadonlySet<IommufdContext> {
    return this.#open
  }

  /** Refused DMA of all devices bound to it. */
  get faults(): NativeFaultLog {
    this.#faults ??= syscall('faults', () => addon().iommufd.faultLog())
    return this.#faults
  }

  /** The address space in a container's place. */
  get compat(): IoasObject | undefined {
    return this.#compat
  }

  set compat(ioas: IoasObject | undefined) {
    this.#compat = ioas
  }

  /** One more needs it. */
  hold(): void {
    this.#holds++
  }

  /** One less; the last takes everything with it. */
  release(): void {
    if (--this.#holds > 0) return
    this.objects.clear()
    this.#compat = undefined
    this.#open.delete(this)
  }

  /** Makes an address space. */
  allocIoas(): IoasObject {
    const gone = (ioas: IoasObject): void => {
      if (this.#compat === ioas) this.#compat = undefined
    }
    return this.objects.add(new IoasObject(gone))
  }

  /** An address space by id. @throws {VfioError} ENOENT */
  ioas(id: number, operation: string): IoasObject {
    return this.objects.getOf(id, IoasObject, operation)
  }

  /** The address space in a container's place. @throws {VfioError} ENODEV none */
  requireCompat(operation: string): IoasObject {
    if (this.#compat !== undefined) return this.#compat
    throw new VfioError('ENODEV', operation, {
      reason: 'no address space stands for a container',
      remedy: 'put a group into the iommufd, or use IOMMU_VFIO_IOAS',
    })
  }

  /** What is attached together with devices of that IOMMU group. */
  attachGroup(key: object): AttachGroup {
    let group = this.#groups.get(key)
    if (group === undefined) {
      group = new AttachGroup()
      this.#groups.set(key, group)
    }
    return group
  }
}
