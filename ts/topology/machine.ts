/**
 * From a topology to a machine.
 *
 * Everything is checked before anything is made; what the machine itself refuses (a slot taken twice, an unknown type) closes it
 * again.
 */
import { invalidArgValue } from '../errors.ts'
import type { MachineKind } from '../host/machine-kind.ts'
import { SoftwareHost, type SoftwareHostOptions } from '../host/software-host.ts'
import type { PciBridgeKind } from '../pci/bridge.ts'
import type { PciQuirks } from '../pci/device.ts'
import type { PciFunctionDescriptor } from '../pci/hardware.ts'
import { oneOf, text, u32 } from '../shape.ts'
import { elements, type Field, members, optional, quantity, truth } from './field.ts'
import { modelOf, parentOf } from './models.ts'
import type { Topology } from './topology.ts'

const SLOT_KEYS = ['address', 'behind', 'quirks'] as const
const FUNCTION_KEYS = [...SLOT_KEYS, 'model', 'driver', 'options'] as const
const BRIDGE_KEYS = [...SLOT_KEYS, 'bridge', 'secondaryBus', 'acs'] as const
const MACHINE_KEYS = [
  '$schema',
  'platform',
  'pageSize',
  'firstGroup',
  'iommu',
  'dmaEntryLimit',
  'noiommu',
  'allowUnsafeInterrupts',
  'disableHugepages',
  'iommufdTests',
  'pci',
  'mdev',
] as const

/** Something to be done to the machine, once all of the topology has been read. */
type Step = (host: SoftwareHost) => void

/**
 * Makes the machine that a topology describes.
 *
 * @throws {TypeError | RangeError} a value of the wrong shape, named by its path such as `topology.pci[2].driver`
 * @throws {VfioError} what the machine refuses: EEXIST a slot or a UUID is taken, ENODEV nothing leads to a bus or there is no such
 *   bridge, ENOENT no such type, EUSERS no instance is left
 */
export function hostFromTopology(topology: Topology): SoftwareHost {
  const machine = members({ value: topology, path: 'topology' }, MACHINE_KEYS)
  if (machine.$schema.value !== undefined) text(machine.$schema.value, machine.$schema.path)
  const options = optionsOf(machine)
  const steps = [...elements(machine.pci).map(slotStep), ...elements(machine.mdev).map(parentStep)]
  const host = new SoftwareHost(options)
  try {
    for (const step of steps) step(host)
    return host
  } catch (error) {
    host.close()
    throw error
  }
}

function optionsOf(machine: Record<(typeof MACHINE_KEYS)[number], Field>): SoftwareHostOptions {
  const { iommu } = machine
  return {
    ...optional('platform', machine.platform, (value, path) =>
      oneOf<MachineKind>(value, ['x86', 'powernv', 'pseries'], path),
    ),
    ...optional('pageSize', machine.pageSize, u32),
    ...optional('firstGroup', machine.firstGroup, u32),
    ...optional('dmaEntryLimit', machine.dmaEntryLimit, u32),
    ...optional('noiommu', machine.noiommu, truth),
    ...optional('allowUnsafeInterrupts', machine.allowUnsafeInterrupts, truth),
    ...optional('disableHugepages', machine.disableHugepages, truth),
    ...optional('iommufdTests', machine.iommufdTests, truth),
    ...(iommu.value === false ? { iommu: false } : optional('iommu', iommu, iommuOf)),
  }
}

function iommuOf(value: unknown, path: string): Exclude<SoftwareHostOptions['iommu'], false | undefined> {
  const iommu = members({ value, path }, ['pgsizes', 'addressWidth', 'reserved', 'cacheCoherency'])
  const reserved = elements(iommu.reserved).map((region) => {
    const { start, last, kind } = members(region, ['start', 'last', 'kind'])
    return {
      start: quantity(start.value, start.path),
      last: quantity(last.value, last.path),
      kind: oneOf(kind.value, ['direct', 'direct-relaxable', 'reserved', 'msi', 'sw-msi'], kind.path),
    }
  })
  return {
    ...optional('pgsizes', iommu.pgsizes, quantity),
    ...optional('addressWidth', iommu.addressWidth, u32),
    ...optional('cacheCoherency', iommu.cacheCoherency, truth),
    ...(iommu.reserved.value === undefined ? {} : { reserved }),
  }
}

function slotStep(slot: Field): Step {
  const bridge = typeof slot.value === 'object' && slot.value !== null && 'bridge' in slot.value
  return bridge ? bridgeStep(slot) : functionStep(slot)
}

function functionStep(slot: Field): Step {
  const part = members(slot, FUNCTION_KEYS)
  const address = text(part.address.value, part.address.path)
  const descriptor: PciFunctionDescriptor = modelOf(part.model, part.options)
  const options = { ...plugOptions(part), ...optional('driver', part.driver, text) }
  return (host) => void host.pci.add(address, descriptor, options)
}

function bridgeStep(slot: Field): Step {
  const part = members(slot, BRIDGE_KEYS)
  const address = text(part.address.value, part.address.path)
  const options = {
    ...plugOptions(part),
    kind: text(part.bridge.value, part.bridge.path) as PciBridgeKind,
    ...optional('secondaryBus', part.secondaryBus, u32),
    ...optional('acs', part.acs, truth),
  }
  return (host) => void host.pci.addBridge(address, options)
}

function plugOptions(slot: Record<'behind' | 'quirks', Field>): { behind?: string; quirks?: PciQuirks } {
  return { ...optional('behind', slot.behind, text), ...optional('quirks', slot.quirks, quirksOf) }
}

function quirksOf(value: unknown, path: string): PciQuirks {
  const { acs, noBusReset, linkStaysDown } = members({ value, path }, ['acs', 'noBusReset', 'linkStaysDown'])
  return {
    ...optional('acs', acs, truth),
    ...optional('noBusReset', noBusReset, truth),
    ...optional('linkStaysDown', linkStaysDown, truth),
  }
}

function parentStep(field: Field): Step {
  const part = members(field, ['driver', 'name', 'options', 'devices'])
  const { driver, parent } = parentOf(part.driver, part.options)
  const name = part.name.value === undefined ? driver : text(part.name.value, part.name.path)
  const devices = elements(part.devices).map((device) => {
    const { type, uuid } = members(device, ['type', 'uuid'])
    return { type: text(type.value, type.path), typePath: type.path, uuid: text(uuid.value, uuid.path) }
  })
  return (host) => {
    const { types } = host.mdev.registerParent(name, parent)
    for (const { type, typePath, uuid } of devices) {
      const made = types.find((known) => known.id === type)
      if (made === undefined) {
        const known = types.map(({ id }) => id).join(', ')
        throw invalidArgValue(typePath, `must be a type of ${name}: ${known}. Received '${type}'`)
      }
      host.mdev.create(made, uuid)
    }
  }
}
