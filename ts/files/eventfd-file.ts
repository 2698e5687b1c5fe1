/** An eventfd of a simulated process, non-blocking. */
import { EventSink } from '../device/event-sink.ts'
import type { EventTarget64 } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { NativeEventFd } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { Caller, OpenFile } from './open-file.ts'

const WIDTH = 8

/** An open event counter. */
export class EventFdFile implements OpenFile {
  readonly kind = 'eventfd'
  readonly #native: NativeEventFd
  readonly #sink: EventSink

  /** Makes a counter that stands at `initial`. @throws {VfioError} EMFILE */
  constructor(initial = 0n) {
    this.#native = syscall('eventfd', () => addon().NativeEventFd.create(initial))
    this.#sink = new EventSink(this.#native)
  }

  event(): EventTarget64 {
    return this.#sink
  }

  read(_caller: Caller, into: Uint8Array, position: bigint | undefined): number {
    refusePosition('read', position)
    if (into.byteLength < WIDTH) throw new VfioError('EINVAL', 'read', { reason: 'an eventfd reads 8 bytes' })
    const count = this.#native.read()
    if (count === undefined) throw new VfioError('EAGAIN', 'read', { reason: 'nothing was signalled' })
    new DataView(into.buffer, into.byteOffset).setBigUint64(0, count, true)
    return WIDTH
  }

  write(_caller: Caller, from: Uint8Array, position: bigint | undefined): number {
    refusePosition('write', position)
    if (from.byteLength < WIDTH) throw new VfioError('EINVAL', 'write', { reason: 'an eventfd takes 8 bytes' })
    const value = new DataView(from.buffer, from.byteOffset).getBigUint64(0, true)
    const done = this.#native.add(value)
    if (done === 0) return WIDTH
    const { code } = VfioError.fromStatus(done, 'write')
    throw new VfioError(code, 'write', {
      reason: code === 'EAGAIN' ? 'the counter is full' : 'the counter cannot hold it',
    })
  }

  poll(): number {
    return this.#native.poll()
  }

  release(): void {
    this.#sink.close()
  }
}

function refusePosition(operation: string, position: bigint | undefined): void {
  if (position !== undefined) throw new VfioError('ESPIPE', operation, { reason: 'an eventfd has no positions' })
}
