/**
 * The machine that the vectors were recorded on, as a simulated host: its topology, bindings and numbers.
 *
 * `env.platform` tells the machines apart: without it the x86 one, else the POWER platform of that name.
 */
import {
  E1000e,
  Edu,
  InertFunction,
  mbochs,
  mdpy,
  mtty,
  Nvme,
  SoftwareHost,
  Testdev,
  type FileHandle,
} from '../index.ts'
import type { Answer } from './compare.ts'
import { small } from './number.ts'
import { POWER_FUNCTIONS, powerHost } from './power-machine.ts'
import type { Environment } from './scenario.ts'

/** PCI functions by the names that vectors use. */
const FUNCTIONS: Readonly<Record<string, string>> = {
  edu: '0000:00:04.0',
  testdev: '0000:00:05.0',
  mf0: '0000:00:06.0',
  mf1: '0000:00:06.1',
  nvme: '0000:01:00.0',
  nic: '0000:02:00.0',
  nv0: '0000:04:01.0',
  nv1: '0000:04:02.0',
}

/** A host built for one scenario. */
export class Machine {
  readonly host: SoftwareHost
  readonly #functions: Readonly<Record<string, string>>
  readonly #uuids = new Map<string, string>()

  constructor(env: Environment) {
    if (env.platform !== undefined) {
      this.#functions = POWER_FUNCTIONS
      this.host = powerHost(env.platform, env.page_size)
      return
    }
    this.#functions = FUNCTIONS
    this.host = new SoftwareHost({
      iommufdTests: true,
      ...(env.dma_entry_limit === undefined ? {} : { dmaEntryLimit: small(env.dma_entry_limit) }),
      ...(env.noiommu === undefined ? {} : { noiommu: env.noiommu }),
    })
    plugX86(this.host)
    for (const name of env.unbound ?? []) {
      this.host.sysfs.write('/sys/bus/pci/drivers/vfio-pci/unbind', FUNCTIONS[name] ?? name)
    }
    for (const { name, parent, type, uuid } of env.mdevs ?? []) {
      this.#uuids.set(name, uuid)
      this.host.sysfs.write(`/sys/class/mdev_bus/${parent}/mdev_supported_types/${type}/create`, uuid)
    }
  }

  /** Fills `{pci:…}`, `{group:…}`, `{cdev:…}` and `{uuid:…}` in. @throws {Error} unknown device */
  expand(text: string): string {
    return text.replace(/\{(pci|group|cdev|uuid):([a-z0-9]+)\}/g, (_, kind: string, name: string) => {
      if (kind === 'uuid') return this.#uuid(name)
      const address = this.#functions[name]
      if (kind === 'pci') return address ?? fail(name)
      const directory =
        address === undefined ? `/sys/bus/mdev/devices/${this.#uuid(name)}` : `/sys/bus/pci/devices/${address}`
      if (kind === 'cdev') return this.host.sysfs.list(`${directory}/vfio-dev`)[0] ?? fail(name)
      return this.host.sysfs.readlink(`${directory}/iommu_group`).split('/').at(-1) ?? fail(name)
    })
  }

  /** Tells whether a path of the device or sysfs tree exists. */
  exists(path: string): boolean {
    return path.startsWith('/dev/') ? this.host.dev.exists(path) : this.host.sysfs.exists(path)
  }

  /** File type and permission bits of a path. */
  mode(path: string): number {
    return path.startsWith('/dev/') ? this.host.dev.stat(path).mode : this.host.sysfs.stat(path).mode
  }

  /** Sets the memory and bus-master bits of a device. */
  enableBusMaster(device: FileHandle): Answer {
    const at = (7n << 40n) + 4n
    const command = new Uint8Array(2)
    device.read(command, at)
    device.write(Uint8Array.of((command[0] ?? 0) | 6, command[1] ?? 0), at)
    return { ret: 0 }
  }

  /** Has the test device copy between memory and its buffer. */
  dma(device: FileHandle, way: string, iova: bigint, length: number): Answer {
    const BUFFER = 0x40000n
    const into = way === 'memory-to-device'
    const register = (offset: bigint, value: bigint): void => {
      device.write(new Uint8Array(BigUint64Array.of(value).buffer), offset)
    }
    register(0x80n, into ? iova : BUFFER)
    register(0x88n, into ? BUFFER : iova)
    register(0x90n, BigInt(length))
    register(0x98n, into ? 1n : 3n)
    return { ret: 0 }
  }

  /** Takes the machine down. */
  close(): void {
    this.host.close()
  }

  #uuid(name: string): string {
    return this.#uuids.get(name) ?? fail(name)
  }
}

function fail(name: string): never {
  throw new Error(`no device ${name} in this machine`)
}

const PAGE = 4096
const VFIO = { driver: 'vfio-pci' } as const
/** The recorded machine's emulated ports never reported their link up again after a bus reset. */
const EMULATED_LINK = { linkStaysDown: true }
const ROOT_PORTS = [
  { at: '0000:00:08.0', bus: 1 },
  { at: '0000:00:09.0', bus: 2 },
  { at: '0000:00:0a.0', bus: 3 },
] as const

/** Plugs in what the q35 machine had, in the order of enumeration, which numbers groups and devices. */
function plugX86(host: SoftwareHost): void {
  const { pci } = host
  pci.add('0000:00:00.0', new InertFunction({ id: '8086:29c0', classCode: 0x060000 }))
  pci.add(
    '0000:00:01.0',
    new InertFunction({ id: '1af4:1009', classCode: 0x000200, bars: [{ index: 1, size: PAGE, kind: 'memory32' }] }),
  )
  pci.add('0000:00:04.0', new Edu(), VFIO)
  pci.add('0000:00:05.0', new Testdev(), VFIO)
  pci.add('0000:00:06.0', new Edu({ multifunction: true }), VFIO)
  pci.add('0000:00:06.1', new Edu(), VFIO)
  for (const { at, bus } of ROOT_PORTS)
    pci.addBridge(at, { kind: 'root-port', secondaryBus: bus, quirks: EMULATED_LINK })
  pci.add('0000:00:1f.0', new InertFunction({ id: '8086:2918', classCode: 0x060100, multifunction: true }))
  pci.add('0000:00:1f.2', new InertFunction({ id: '8086:2922', classCode: 0x010601 }))
  pci.add('0000:00:1f.3', new InertFunction({ id: '8086:2930', classCode: 0x0c0500 }))
  pci.add('0000:01:00.0', new Nvme(), VFIO)
  pci.add('0000:02:00.0', new E1000e(), VFIO)
  pci.addBridge('0000:03:00.0', { kind: 'pcie-to-pci', secondaryBus: 4 })
  pci.add('0000:04:01.0', new Edu(), VFIO)
  pci.add('0000:04:02.0', new InertFunction({ id: '1af4:1005', bars: [{ index: 0, size: 32, kind: 'io' }] }), {
    driver: 'virtio-pci',
  })
  pci.powerOn()
  host.mdev.registerParent('mtty', mtty())
  host.mdev.registerParent('mdpy', mdpy())
  host.mdev.registerParent('mbochs', mbochs())
}
