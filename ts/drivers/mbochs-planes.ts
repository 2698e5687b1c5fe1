/** Planes of an mbochs display: each mode that was asked about has an id, by which users get it as a dma-buf. */
import { VfioError } from '../errors.ts'
import type { MbochsMode } from './mbochs-registers.ts'

/** Most modes that are remembered at once. */
const LIMIT = 4096

/** The modes that a display has shown since it was opened. */
export class MbochsPlanes {
  readonly #modes = new Map<number, MbochsMode>()
  readonly #ids = new Map<string, number>()
  #last = 0

  /** Id of a mode that is known. */
  find(mode: MbochsMode): number | undefined {
    return this.#ids.get(keyOf(mode))
  }

  /** Gives a mode an id. @throws {VfioError} ENOMEM too many are known */
  add(mode: MbochsMode): number {
    if (this.#modes.size === LIMIT) {
      throw new VfioError('ENOMEM', 'VFIO_DEVICE_QUERY_GFX_PLANE', {
        reason: `${LIMIT} modes are known already`,
        remedy: 'close the device',
      })
    }
    const id = ++this.#last
    this.#modes.set(id, mode)
    this.#ids.set(keyOf(mode), id)
    return id
  }

  /** The mode behind an id. @throws {VfioError} ENOENT */
  mode(id: number): MbochsMode {
    const mode = this.#modes.get(id)
    if (mode === undefined)
      throw new VfioError('ENOENT', 'VFIO_DEVICE_GET_GFX_DMABUF', { reason: `there is no plane ${id}` })
    return mode
  }

  /** Forgets the modes; their ids do not come again. */
  clear(): void {
    this.#modes.clear()
    this.#ids.clear()
  }
}

function keyOf({ width, height, stride, offset }: MbochsMode): string {
  return `${width}x${height}/${stride}@${offset}`
}
