/** Hotplug notification: what the kernel would send to udev, as events of the mdev bus. */
import { EventEmitter } from 'node:events'
import type { UeventAction } from '../sysfs/device-node.ts'
import type { Mdev } from './model.ts'

/** A notification. */
export interface Uevent {
  action: UeventAction
  /** Path of the device, without `/sys`. */
  devpath: string
  /** `mdev` for devices, else the parent's class or bus. */
  subsystem: string
  /** Further variables, such as `DRIVER` or `MDEV_STATE`. */
  env: Readonly<Record<string, string>>
  /** The mediated device concerned; absent: a parent. */
  mdev?: Mdev
}

/** Events by name: each action, and `uevent` for all of them. */
export type UeventMap = { [A in UeventAction]: [event: Uevent] } & { uevent: [event: Uevent] }

/**
 * Emits notifications in the order in which things happened, once the call that caused them is over: a listener sees the
 * machine as it is by then, may call back into it, and cannot break the call.
 */
export class UeventEmitter extends EventEmitter<UeventMap> {
  /** Queues a notification. */
  protected notify(event: Uevent): void {
    queueMicrotask(() => {
      this.emit('uevent', event)
      this.emit(event.action, event)
    })
  }
}
