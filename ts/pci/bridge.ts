/**
 * Bridges: ports and bridges as hardware, told apart by what their configuration space says.
 *
 * Bridges have no BARs of their own here and are driven by nothing but `pcieport`; what matters is the bus behind them
 * and how well they isolate it.
 */
import { invalidArgValue } from '../errors.ts'
import { ACS, CONFIG, EXPRESS_TYPE, HEADER_BRIDGE } from './config-layout.ts'
import { ConfigSpace, type PciIdentity } from './config-space.ts'
import type { PciFunctionOptions, PciHardware } from './hardware.ts'
import { identityOf } from './identity.ts'

/** Kinds of bridges. */
export type PciBridgeKind = 'root-port' | 'upstream-port' | 'downstream-port' | 'pcie-to-pci' | 'pci-to-pcie' | 'pci'

/** What a bridge is made of. */
export interface PciBridgeOptions extends PciFunctionOptions {
  /**
   * `root-port`, `upstream-port` and `downstream-port` of PCI Express; `pcie-to-pci` and `pci-to-pcie` between the two;
   * `pci` a conventional bridge.
   */
  kind: PciBridgeKind
  /** Whether a root or downstream port has Access Control Services, so that it isolates what is behind it; default true. */
  acs?: boolean
}

interface Model {
  identity: PciIdentity
  express: number | undefined
  acs: boolean
}

const CLASS_PCI_BRIDGE = 0x060400
const CAPABILITY_EXPRESS = 0x10
const EXTENDED_ACS = 0x0d
const REDIRECTION = ACS.sourceValidation | ACS.requestRedirect | ACS.completionRedirect | ACS.upstreamForwarding

const MODELS: Readonly<Record<PciBridgeKind, Model>> = {
  'root-port': model(0x1b36, 0x000c, EXPRESS_TYPE.rootPort, true),
  'upstream-port': model(0x104c, 0x8232, EXPRESS_TYPE.upstreamPort, false),
  'downstream-port': model(0x104c, 0x8233, EXPRESS_TYPE.downstreamPort, true),
  'pcie-to-pci': model(0x1b36, 0x000e, EXPRESS_TYPE.pcieToPci, false),
  'pci-to-pcie': model(0x10b5, 0x8111, EXPRESS_TYPE.pciToPcie, false),
  pci: model(0x8086, 0x244e, undefined, false),
}

/** Makes the hardware of a bridge. @throws {TypeError} a value of the wrong shape */
export function bridgeHardware(options: PciBridgeOptions): PciHardware {
  const base = Object.hasOwn(MODELS, options.kind) ? MODELS[options.kind] : undefined
  if (!base)
    throw invalidArgValue('kind', `must be one of ${Object.keys(MODELS).join(', ')}. Received ${String(options.kind)}`)
  const config = new ConfigSpace(identityOf(options, base.identity), HEADER_BRIDGE)
  config.allow(CONFIG.primaryBus, 3, 0xffffff)
  config.allow(CONFIG.ioBase, 2, 0xf0f0)
  config.allow(CONFIG.memoryBase, 4, 0xfff0_fff0)
  config.set(CONFIG.prefetchBase, 4, 0x0001_0001)
  config.allow(CONFIG.prefetchBase, 4, 0xfff0_fff0)
  config.allow(CONFIG.prefetchBaseHigh, 4, 0xffff_ffff)
  config.allow(CONFIG.prefetchLimitHigh, 4, 0xffff_ffff)
  if (base.express !== undefined) {
    const at = config.capability(CAPABILITY_EXPRESS, 0x54)
    config.set(at + 2, 2, 2 | (base.express << 4))
    if (base.acs && options.acs !== false) addAcs(config)
  }
  return {
    configRead: (offset, width) => config.configRead(offset, width),
    configWrite: (offset, width, value) => config.configWrite(offset, width, value),
    close() {},
  }
}

function addAcs(config: ConfigSpace): void {
  const at = config.extended(EXTENDED_ACS, 1, 0x100)
  config.set(at + 4, 2, REDIRECTION)
  config.allow(at + 6, 2, REDIRECTION)
}

function model(vendor: number, device: number, express: number | undefined, acs: boolean): Model {
  return { identity: { vendor, device, classCode: CLASS_PCI_BRIDGE }, express, acs }
}
