/** A part of a region behind a descriptor of its own (`VFIO_DEVICE_FEATURE_DMA_BUF`). */
import type { DeviceSession } from '../device/device-session.ts'
import type { SharedRegion } from '../device/ops.ts'
import type { OpenFile } from './open-file.ts'

/** A shared part of a region; programs pass it on, and other objects of the machine may map it. */
export class DmaBufFile implements OpenFile {
  readonly kind = 'dma-buf'
  /** The device that the region belongs to, as it was opened. */
  readonly session: DeviceSession
  readonly shared: SharedRegion

  constructor(session: DeviceSession, shared: SharedRegion) {
    this.session = session
    this.shared = shared
  }
}
