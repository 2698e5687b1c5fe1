/**
 * What makes an IOMMU group: which functions the IOMMU cannot tell apart or keep apart.
 *
 * A function shares a group with every function whose requests bear the same requester ID (aliases behind a bridge to
 * conventional PCI, the bridge itself included), with everything below the lowest point from which Access Control
 * Services lead unbroken to the root, and with the other functions of its slot unless these are kept apart by ACS.
 * Source: `Documentation/driver-api/vfio.rst`, PCI Express Base Specification 6.12.
 */
import type { IommuGroup } from '../group/iommu-group.ts'
import { ACS, EXPRESS_TYPE } from './config-layout.ts'
import type { PciBus, PciDevice } from './device.ts'

/** All that isolation asks of ACS. */
const REQUIRED = ACS.sourceValidation | ACS.requestRedirect | ACS.completionRedirect | ACS.upstreamForwarding

/** The group of an earlier function that `device` has to share; undefined: it needs a group of its own. */
export function findGroup(device: PciDevice): IommuGroup | undefined {
  const { top, group } = topAlias(device)
  if (group) return group

  let isolated = top
  for (let bus: PciBus = isolated.bus; bus.bridge !== undefined; bus = bus.bridge.bus) {
    if (pathIsIsolated(bus.bridge)) break
    isolated = bus.bridge
    if (isolated.group) return isolated.group
  }
  return aliasGroup(isolated) ?? siblingGroup(isolated)
}

/** Switches on what ACS a function has, as a host with an IOMMU does. */
export function enableAcs(device: PciDevice): void {
  const { acs } = device.header
  if (acs === undefined) return
  const { hardware } = device
  const control = hardware.configRead(acs + 6, 2) | (hardware.configRead(acs + 4, 2) & REQUIRED)
  hardware.configWrite(acs + 6, 2, control)
}

/** Tells whether a function's requests all go to the IOMMU, as far as the function itself is concerned. */
export function isIsolated(device: PciDevice): boolean {
  if (device.quirks.acs !== undefined) return device.quirks.acs
  switch (device.header.expressType) {
    case undefined:
    case EXPRESS_TYPE.pcieToPci:
    case EXPRESS_TYPE.pciToPcie:
    case EXPRESS_TYPE.eventCollector:
      return false
    case EXPRESS_TYPE.rootPort:
    case EXPRESS_TYPE.downstreamPort:
      return hasAcs(device)
    default:
      return !device.multifunction || hasAcs(device)
  }
}

/** Tells whether that holds for a function and every bridge above it. */
export function pathIsIsolated(device: PciDevice): boolean {
  for (let at: PciDevice | undefined = device; at !== undefined; at = at.bus.bridge) if (!isIsolated(at)) return false
  return true
}

function hasAcs(device: PciDevice): boolean {
  const { acs } = device.header
  if (acs === undefined) return false
  // what the capability lacks is taken for hard-wired
  const wanted = REQUIRED & device.hardware.configRead(acs + 4, 2)
  return (device.hardware.configRead(acs + 6, 2) & wanted) === wanted
}

/** The functions above under whose requester ID requests of `device` may arrive, nearest first. */
function aliases(device: PciDevice): PciDevice[] {
  const found: PciDevice[] = []
  for (let bridge = device.bus.bridge; bridge !== undefined; bridge = bridge.bus.bridge) {
    switch (bridge.header.expressType) {
      case EXPRESS_TYPE.rootPort:
      case EXPRESS_TYPE.upstreamPort:
      case EXPRESS_TYPE.downstreamPort:
        break // forwards requester IDs as they are
      default:
        found.push(bridge)
    }
  }
  return found
}

function topAlias(device: PciDevice): { top: PciDevice; group: IommuGroup | undefined } {
  let top = device
  for (const alias of aliases(device)) {
    top = alias
    if (alias.group) return { top, group: alias.group }
  }
  return { top, group: undefined }
}

/** Group of a function that shares a requester ID with `device` on its own bus. */
function aliasGroup(device: PciDevice): IommuGroup | undefined {
  return device.group ?? aliases(device).find((alias) => alias.group)?.group
}

/** Group of another function of the slot, if the functions can reach each other. */
function siblingGroup(device: PciDevice): IommuGroup | undefined {
  if (!device.multifunction || isIsolated(device)) return undefined
  for (const sibling of device.siblings) {
    const group = isIsolated(sibling) ? undefined : aliasGroup(sibling)
    if (group) return group
  }
  return undefined
}
