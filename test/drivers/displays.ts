/** A machine with one display in it, opened by a process of its own. */
import { SoftwareHost } from '../../ts/index.ts'
import type { MdevParentOptions } from '../../ts/mdev/parent-options.ts'
import { s32 } from '../files/files.ts'

export const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'

/** Makes a device of `type` (such as `'mdpy-vga'`) and opens its file. */
export function displayMachine(driver: MdevParentOptions, type: string) {
  const name = String(driver.driver)
  const host = new SoftwareHost()
  host.mdev.registerParent(name, driver)
  const mdev = host.mdev.create(type, UUID)
  const process = host.process()
  const container = process.open('/dev/vfio/vfio')
  const group = process.open(`/dev/vfio/${mdev.group?.number}`)
  group.ioctl('VFIO_GROUP_SET_CONTAINER', s32(container.fd))
  container.ioctl('VFIO_SET_IOMMU', 1n)
  const open = () => process.file(group.ioctl('VFIO_GROUP_GET_DEVICE_FD', UUID))
  const file = open()
  const read = (position: number, length: number) => {
    const into = new Uint8Array(length).fill(0xcc)
    const done = file.read(into, BigInt(position))
    return [...into.subarray(0, done)]
  }
  const write = (position: number, ...bytes: number[]) => file.write(Uint8Array.from(bytes), BigInt(position))
  const map = (position: number, length: number, options: { shared?: boolean } = {}) =>
    file.mmap({ offset: position, length, ...options })
  return { host, mdev, process, file, open, read, write, map, [Symbol.dispose]: () => host.close() }
}

/** The words that `VFIO_DEVICE_QUERY_GFX_PLANE` changes, by name. */
export function planeOf(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer)
  const at = (offset: number) => view.getUint32(offset, true)
  return { format: at(12), width: at(24), height: at(28), stride: at(32), size: at(36), region: at(56) }
}

/** A request of that kind. */
export function planeRequest(flags: number, planeType = 0, argsz = 64): Uint8Array {
  const bytes = new Uint8Array(64)
  new Uint32Array(bytes.buffer).set([argsz, flags, planeType])
  return bytes
}
