/** Objects of an iommufd: things with an id that user space destroys, if nobody else uses them. */
import { VfioError } from '../errors.ts'

/** What an object is. */
export type ObjectKind =
  | 'ioas'
  | 'hwpt-paging'
  | 'hwpt-nested'
  | 'device'
  | 'access'
  | 'fault'
  | 'viommu'
  | 'vdevice'
  | 'veventq'
  | 'hw-queue'
  | 'selftest'

/** Something with an id. */
export abstract class IommufdObject {
  abstract readonly kind: ObjectKind
  /** Its number; 0 before it has one and after it is gone. */
  id = 0
  #users = 0

  /** How many others need it. */
  get users(): number {
    return this.#users
  }

  /** One more needs it. */
  hold(): void {
    this.#users++
  }

  /** One less. */
  release(): void {
    this.#users--
  }

  /** Undoes what it stands for; it has no id any more. */
  abstract destroy(): void
}

/** Objects by id: numbers from 1 on, the lowest that is free. */
export class ObjectTable {
  readonly #objects = new Map<number, IommufdObject>()
  /** Numbers of objects that went with another: nobody gets them again. */
  readonly #tombs = new Set<number>()
  #lowest = 1

  /** Whether there is none. */
  get empty(): boolean {
    return this.#objects.size === 0
  }

  /** Gives an object its id. */
  add<T extends IommufdObject>(object: T): T {
    let id = this.#lowest
    while (this.#objects.has(id) || this.#tombs.has(id)) id++
    this.#lowest = id + 1
    this.#objects.set(id, object)
    object.id = id
    return object
  }

  /** Destroys an object whose number is not given away again (a tombstone). */
  entomb(object: IommufdObject): void {
    const { id } = object
    if (this.#objects.get(id) !== object) return
    this.#objects.delete(id)
    this.#tombs.add(id)
    object.id = 0
    object.destroy()
  }

  /** Takes an object out, without destroying it. */
  remove(object: IommufdObject): void {
    if (this.#objects.get(object.id) !== object) return
    this.#objects.delete(object.id)
    this.#lowest = Math.min(this.#lowest, object.id)
    object.id = 0
  }

  /** The object of that id. @throws {VfioError} ENOENT */
  get(id: number, operation: string): IommufdObject {
    const object = this.#objects.get(id)
    if (object === undefined) throw new VfioError('ENOENT', operation, { reason: `there is no object ${id}` })
    return object
  }

  /** The object of that id, if it is a `type`. @throws {VfioError} ENOENT */
  getOf<T extends IommufdObject>(id: number, type: abstract new (...args: never[]) => T, operation: string): T {
    const object = this.get(id, operation)
    if (object instanceof type) return object
    throw new VfioError('ENOENT', operation, { reason: `object ${id} is of kind ${object.kind}` })
  }

  /** `IOMMU_DESTROY`. @throws {VfioError} ENOENT, EBUSY something needs it */
  destroy(id: number): void {
    const object = this.get(id, 'IOMMU_DESTROY')
    if (object.users > 0) {
      throw new VfioError('EBUSY', 'IOMMU_DESTROY', {
        reason: `object ${id} (${object.kind}) is in use`,
        remedy: 'detach or destroy what uses it first',
      })
    }
    this.remove(object)
    object.destroy()
  }

  /** Destroys all, those that nobody needs first. */
  clear(): void {
    while (this.#objects.size > 0) {
      const objects = [...this.#objects.values()]
      const next = objects.findLast((object) => object.users === 0) ?? objects.at(-1)
      if (next === undefined) return
      this.remove(next)
      next.destroy()
    }
  }

  [Symbol.iterator](): Iterator<IommufdObject> {
    return [...this.#objects.values()][Symbol.iterator]()
  }
}
