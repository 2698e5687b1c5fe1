/** The shape of what drivers register: every callback is a function or absent, and what has to be there is. */
import { invalidArgType } from '../errors.ts'
import { record, text } from '../shape.ts'
import type { BusDriverOps, OlderBusDriverOps } from './bus-driver-ops.ts'
import type { VfioDeviceOps } from './ops.ts'

const NEEDED: readonly (keyof VfioDeviceOps)[] = ['getInfo', 'getRegionInfo', 'getIrqInfo', 'setIrqs']

const OPTIONAL: readonly (keyof VfioDeviceOps)[] = [
  ...(['init', 'release', 'bindIommufd', 'unbindIommufd', 'attachIoas', 'detachIoas'] as const),
  ...(['openDevice', 'closeDevice', 'locate', 'reset', 'read', 'write'] as const),
  ...(['setIrqsAsync', 'resetAsync', 'readAsync', 'writeAsync', 'mmap', 'regionMemory', 'doorbells'] as const),
  ...(['ioeventfd', 'passThrough', 'ioctl', 'deviceFeature', 'request', 'match', 'matchToken', 'dmaUnmap'] as const),
]

const OBJECTS: readonly (readonly [keyof VfioDeviceOps, readonly string[]])[] = [
  ['migration', ['setState', 'getState']],
  ['dmaLogging', ['start', 'stop', 'readAndClear']],
  ['hotReset', ['affected', 'reset']],
]

const DOCUMENT: readonly (keyof BusDriverOps<unknown>)[] = [
  ...(['init', 'release', 'bindIommufd', 'unbindIommufd', 'attachIoas', 'detachIoas', 'openDevice'] as const),
  ...(['closeDevice', 'read', 'write', 'ioctl', 'mmap', 'request', 'match', 'dmaUnmap', 'deviceFeature'] as const),
]

const OLDER: readonly (keyof OlderBusDriverOps<unknown>)[] = ['open', 'release', 'read', 'write', 'ioctl', 'mmap']

/** Takes the callbacks of a device. @throws {TypeError} ERR_INVALID_ARG_TYPE a member of the wrong type */
export function checkedOps(ops: VfioDeviceOps): VfioDeviceOps {
  const members = record(ops, 'ops') as object
  text(ops.name, 'ops.name')
  for (const name of NEEDED) callback(members, name, 'ops', true)
  for (const name of OPTIONAL) callback(members, name, 'ops', false)
  for (const [name, callbacks] of OBJECTS) {
    const object = Reflect.get(members, name) as unknown
    if (object === undefined) continue
    const inner = record(object as object, `ops.${name}`)
    for (const member of callbacks) callback(inner, member, `ops.${name}`, true)
  }
  return ops
}

/** Takes the callbacks of a bus driver. @throws {TypeError} ERR_INVALID_ARG_TYPE a member of the wrong type */
export function checkedBusDriver<D>(ops: BusDriverOps<D>): BusDriverOps<D> {
  const members = record(ops, 'ops') as object
  text(ops.name, 'ops.name')
  for (const name of DOCUMENT) callback(members, name, 'ops', false)
  return ops
}

/** Takes the callbacks of an older bus driver. @throws {TypeError} ERR_INVALID_ARG_TYPE a member of the wrong type */
export function checkedOlderBusDriver<D>(ops: OlderBusDriverOps<D>): OlderBusDriverOps<D> {
  const members = record(ops, 'ops') as object
  if (ops.name !== undefined) text(ops.name, 'ops.name')
  for (const name of OLDER) callback(members, name, 'ops', false)
  return ops
}

function callback(of: object, name: string, what: string, needed: boolean): void {
  const value: unknown = Reflect.get(of, name)
  if (typeof value === 'function' || (value === undefined && !needed)) return
  throw invalidArgType(`${what}.${name}`, needed ? 'a function' : 'a function or undefined', value)
}
