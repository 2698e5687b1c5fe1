/** A machine with the core of 2011 and three functions: two in groups of their own, two that share one. */
import { Edu, SoftwareHost, type FileHandle, type HostProcess } from 'vfio'
import { Vfio2011 } from 'vfio/2011'

export const EDU = '0000:00:04.0'
export const OTHER = '0000:00:05.0'
export const TWINS = ['0000:00:06.0', '0000:00:06.1'] as const
export const DRIVER = 'vfio-pci-2011'

/** Gives functions to the core's PCI driver. */
export function machine(...bound: readonly string[]) {
  const host = new SoftwareHost()
  const vfio = new Vfio2011(host, { requestInterval: 20 })
  for (const name of [EDU, OTHER, ...TWINS]) {
    host.pci.add(name, new Edu({ multifunction: name === TWINS[0] }), bound.includes(name) ? { driver: DRIVER } : {})
  }
  const groupOf = (name: string): string => `pci:${host.groupOf(name).number}`
  return { host, vfio, groupOf, [Symbol.dispose]: () => host.close() }
}

/** Binds a function to the core's driver through sysfs. */
export function bind(host: SoftwareHost, name: string): void {
  host.sysfs.write(`/sys/bus/pci/devices/${name}/driver_override`, `${DRIVER}\n`)
  host.sysfs.write(`/sys/bus/pci/drivers/${DRIVER}/bind`, name)
}

/** The new descriptor that a request gave. */
export function opened(process: HostProcess, fd: number): FileHandle {
  return process.file(fd)
}
