/** What a function shows in its directory: identity, resources, configuration space, and the knobs of its life. */
import { VfioError } from '../errors.ts'
import { addDeviceNode } from '../sysfs/device-node.ts'
import { parseNumber } from '../sysfs/number.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import { hex } from './address.ts'
import { COMMAND, CONFIG } from './config-layout.ts'
import type { PciDevice } from './device.ts'
import { type BarResource, barAddress } from './resources.ts'

/** What the knobs do. */
export interface FunctionActions {
  /** `remove`: takes the function out of the system, though its hardware stays; the promise is the writer's sleep. */
  remove(device: PciDevice): Promise<void> | undefined
  /** `rescan`: looks for hardware that is not enumerated. */
  rescan(): void
}

const CONFIG_SIZE = 256
const EXTENDED_CONFIG_SIZE = 4096
const PAGE = 4096
/** Lines of `resource`: six BARs, ROM, six of virtual functions; bridges have four windows more. */
const RESOURCES = 13
const BRIDGE_RESOURCES = 17
const IORESOURCE = { io: 0x100n, memory: 0x200n, prefetch: 0x2000n, wide: 0x10_0000n, base: 0x4_0000n }

/** Makes the directory of a function. */
export function addFunctionNode(sysfs: SysfsTree, device: PciDevice, actions: FunctionActions): void {
  const { path } = device
  addDeviceNode(sysfs, { path, subsystem: '/sys/bus/pci', env: () => uevent(device) })
  addIdentity(sysfs, device)
  addResources(sysfs, device)
  addConfig(sysfs, device)
  addKnobs(sysfs, device, actions)
  sysfs.link(`/sys/bus/pci/devices/${device.name}`, path)
}

/** Takes the directory of a function away. */
export function removeFunctionNode(sysfs: SysfsTree, device: PciDevice): void {
  sysfs.remove(`/sys/bus/pci/devices/${device.name}`)
  sysfs.remove(device.path)
}

function addIdentity(sysfs: SysfsTree, device: PciDevice): void {
  const { header, hardware } = device
  const show = (name: string, text: () => string) =>
    sysfs.attr(`${device.path}/${name}`, { mode: 0o444, show: () => `${text()}\n` })
  show('vendor', () => `0x${hex(header.vendor, 4)}`)
  show('device', () => `0x${hex(header.device, 4)}`)
  show('subsystem_vendor', () => `0x${hex(header.subsystemVendor, 4)}`)
  show('subsystem_device', () => `0x${hex(header.subsystemDevice, 4)}`)
  show('class', () => `0x${hex(header.classCode, 6)}`)
  show('revision', () => `0x${hex(header.revision, 2)}`)
  show('irq', () => String(header.interruptPin === 0 ? 0 : hardware.configRead(CONFIG.interruptLine, 1)))
  show('modalias', () => modalias(device))
  show('numa_node', () => '-1')
  show('local_cpulist', () => '0')
  show('local_cpus', () => '1')
  show('dma_mask_bits', () => '32')
  show('consistent_dma_mask_bits', () => '32')
  show('power_state', () => 'D0')
  show('ari_enabled', () => '0')
}

function addResources(sysfs: SysfsTree, device: PciDevice): void {
  sysfs.attr(`${device.path}/resource`, { mode: 0o444, show: () => resourceText(device) })
  for (const bar of device.bars) {
    const size = Number(bar.size < BigInt(Number.MAX_SAFE_INTEGER) ? bar.size : BigInt(Number.MAX_SAFE_INTEGER))
    sysfs.binary(`${device.path}/resource${bar.index}`, { mode: 0o600, size })
  }
}

function addConfig(sysfs: SysfsTree, device: PciDevice): void {
  const { hardware } = device
  const size = device.header.expressType === undefined ? CONFIG_SIZE : EXTENDED_CONFIG_SIZE
  sysfs.binary(`${device.path}/config`, {
    mode: 0o644,
    size,
    read: (offset, into) => {
      const count = Math.max(0, Math.min(into.length, size - offset))
      for (let i = 0; i < count; i++) into[i] = hardware.configRead(offset + i, 1)
      return count
    },
    write: (offset, from) => {
      if (offset > size) return 0
      const count = Math.min(from.length, size - offset)
      for (let i = 0; i < count; i++) hardware.configWrite(offset + i, 1, from[i] as number)
      return count
    },
  })
}

function addKnobs(sysfs: SysfsTree, device: PciDevice, actions: FunctionActions): void {
  const { path } = device
  sysfs.attr(`${path}/driver_override`, {
    mode: 0o644,
    show: () => `${device.driverOverride ?? '(null)'}\n`,
    store: (text) => storeOverride(device, text),
  })
  sysfs.attr(`${path}/enable`, {
    mode: 0o644,
    show: () => `${device.enableCount}\n`,
    store: (text) => storeEnable(device, text),
  })
  sysfs.attr(`${path}/remove`, {
    mode: 0o220,
    store: (text) => (parseNumber(text, `${path}/remove`) === 0n ? undefined : actions.remove(device)),
  })
  sysfs.attr(`${path}/rescan`, {
    mode: 0o220,
    store: (text) => {
      if (parseNumber(text, `${path}/rescan`) !== 0n) actions.rescan()
    },
  })
  const { hardware } = device
  if (!hardware.reset) return
  sysfs.attr(`${path}/reset`, {
    mode: 0o200,
    store: (text) => {
      if (parseNumber(text, `${path}/reset`) !== 1n) throw new VfioError('EINVAL', 'write', { path: `${path}/reset` })
      hardware.reset?.()
    },
  })
}

function storeOverride(device: PciDevice, text: string): void {
  if (text.length >= PAGE - 1) throw new VfioError('EINVAL', 'write', { path: `${device.path}/driver_override` })
  const name = text.split(/[\n\0]/, 1)[0] ?? ''
  device.driverOverride = name === '' ? undefined : name
}

function storeEnable(device: PciDevice, text: string): void {
  const path = `${device.path}/enable`
  const on = parseNumber(text, path) !== 0n
  if (device.boundTo)
    throw new VfioError('EBUSY', 'write', { path, reason: `${device.name} is bound to ${device.driver}` })
  if (!on && device.enableCount === 0) throw new VfioError('EIO', 'write', { path, reason: 'it is not enabled' })
  device.enableCount += on ? 1 : -1
  if (!on) return
  const command = device.hardware.configRead(CONFIG.command, 2)
  device.hardware.configWrite(CONFIG.command, 2, command | COMMAND.io | COMMAND.memory)
}

function uevent(device: PciDevice): Record<string, string> {
  const { header } = device
  const id = (a: number, b: number) => `${hex(a, 4)}:${hex(b, 4)}`.toUpperCase()
  return {
    ...(device.driver === undefined ? {} : { DRIVER: device.driver }),
    PCI_CLASS: header.classCode.toString(16).toUpperCase(),
    PCI_ID: id(header.vendor, header.device),
    PCI_SUBSYS_ID: id(header.subsystemVendor, header.subsystemDevice),
    PCI_SLOT_NAME: device.name,
    MODALIAS: modalias(device),
  }
}

function modalias({ header }: PciDevice): string {
  const wide = (value: number) => hex(value, 8).toUpperCase()
  const part = (shift: number) => hex((header.classCode >>> shift) & 0xff, 2).toUpperCase()
  const ids = `v${wide(header.vendor)}d${wide(header.device)}sv${wide(header.subsystemVendor)}sd${wide(header.subsystemDevice)}`
  return `pci:${ids}bc${part(16)}sc${part(8)}i${part(0)}`
}

function resourceText(device: PciDevice): string {
  const count = device.isBridge ? BRIDGE_RESOURCES : RESOURCES
  const lines = Array.from({ length: count }, () => [0n, 0n, 0n])
  for (const bar of device.bars) {
    const start = barAddress(device.hardware, bar)
    lines[bar.index] = [start, start + bar.size - 1n, resourceFlags(bar)]
  }
  return lines.map((line) => `${line.map((value) => `0x${value.toString(16).padStart(16, '0')}`).join(' ')}\n`).join('')
}

function resourceFlags(bar: BarResource): bigint {
  const kind = bar.kind === 'io' ? IORESOURCE.io | 1n : IORESOURCE.memory
  const type = bar.kind === 'memory' ? (bar.wide ? 4n | IORESOURCE.wide : 0n) : 0n
  const prefetch = bar.prefetchable ? IORESOURCE.prefetch | 8n : 0n
  return IORESOURCE.base | kind | type | prefetch
}
