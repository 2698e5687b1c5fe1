/** The POWER machines that the sPAPR vectors were recorded on: two functions, each in an endpoint of its own. */
import { Edu, SoftwareHost, type SpaprOptions } from '../index.ts'
import { smallOr } from './number.ts'
import type { Numeric } from './scenario.ts'

/** PCI functions by the names of the groups that they are alone in. */
export const POWER_FUNCTIONS: Readonly<Record<string, string>> = { g0: '0000:00:04.0', g1: '0000:00:05.0' }

/** Emulated hardware, which never froze anything. */
const POWERNV: SpaprOptions = { eeh: 'emulated' }
/** Its default window was made small, to keep the emulation fast. */
const PSERIES: SpaprOptions = { dma32Size: 16 << 20 }

/** Builds the machine of `env.platform`. @throws {Error} no such platform */
export function powerHost(name: string, pageSize: Numeric | undefined): SoftwareHost {
  const platform = /^(powernv|pseries)-(4|64)k(-hash)?$/.exec(name)
  if (platform === null) throw new Error(`no host plays platform ${name}`)
  const powernv = platform[1] === 'powernv'
  const host = new SoftwareHost({
    platform: powernv ? 'powernv' : 'pseries',
    pageSize: smallOr(pageSize, platform[2] === '4' ? 4096 : 65536),
    spapr: powernv ? POWERNV : PSERIES,
    iommu: { reserved: [] },
  })
  for (const address of Object.values(POWER_FUNCTIONS)) {
    host.pci.add(address, new Edu({ dmaMask: (1n << 64n) - 1n }), { driver: 'vfio-pci' })
  }
  host.pci.powerOn()
  return host
}
