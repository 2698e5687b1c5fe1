import {
  HostMemory,
  PciModel,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_TYPE1v2_IOMMU,
} from 'vfio'
import { afterEach, describe, expect, it, vi } from 'vitest'

const ADDRESS = '0000:00:03.0'

afterEach(() => {
  vi.restoreAllMocks()
})

class Model extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 0x1, bars: [{ index: 0, size: 4096, kind: 'memory32' }] })
  }
}

/** Plugs a model in and opens it. */
function opened(model: PciModel) {
  const host = new SoftwareHost()
  host.pci.add(ADDRESS, model, { driver: 'vfio-pci' })
  const container = host.openContainer()
  const group = host.openGroup(0)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  const device = group.getDevice(ADDRESS)
  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
  config.writeU16(4, config.readU16(4) | 6)
  const close = () => {
    device.close()
    host.close()
  }
  return { container, device, bar: device.region(VFIO_PCI_BAR0_REGION_INDEX), [Symbol.dispose]: close }
}

/** Gathers what the process is warned of. */
function warnings(): unknown[] {
  const warned: unknown[] = []
  vi.spyOn(process, 'emitWarning').mockImplementation((warning) => void warned.push(warning))
  return warned
}

describe('a model that is asynchronous', () => {
  it('goes on after the write', async () => {
    class Later extends Model {
      override async write(_bar: number, offset: bigint, data: DataView): Promise<void> {
        const value = data.getUint32(0, true)
        const found = await this.dma.readAsync(offset, 4)
        await this.dma.writeAsync(
          offset + 4n,
          Uint8Array.from(found, (byte) => byte ^ value),
        )
      }
    }
    using machine = opened(new Later())
    using memory = HostMemory.allocate(4096)
    memory.writeU32(0x10, 0x0f0f0f0f)
    machine.container.mapDma({ iova: 0, memory, read: true, write: true })
    machine.bar.writeU32(0x10, 0xff)
    await vi.waitFor(() => expect(memory.readU32(0x14)).toBe(0xf0f0f0f0))
  })

  it('is warned of when it fails later, and does not end the process', async () => {
    const warned = warnings()
    class Fails extends Model {
      override async write(): Promise<void> {
        await this.dma.readAsync(0x66000, 4)
      }

      override async reset(): Promise<void> {
        throw new Error('later')
      }
    }
    using machine = opened(new Fails())
    machine.bar.writeU32(0, 1)
    await vi.waitFor(() =>
      expect(warned.map((each) => (each as { cause: { code?: string } }).cause.code)).toContain('EFAULT'),
    )
    expect(machine.container.faults.total).toBe(1n)
  })
})

it.each([
  [undefined, 'ERR_INVALID_ARG_TYPE'],
  [null, 'ERR_INVALID_ARG_TYPE'],
  [{}, 'ERR_INVALID_ARG_TYPE'],
  [{ vendor: 1, device: 70_000.5 }, 'ERR_OUT_OF_RANGE'],
  [{ vendor: 1, device: 1, bars: 7 }, 'ERR_INVALID_ARG_TYPE'],
  [{ vendor: 1, device: 1, bars: [null] }, 'ERR_INVALID_ARG_TYPE'],
])('a description has its shape: %j', (description, code) => {
  expect(() => new PciModel(description as never)).toThrow(expect.objectContaining({ code }))
})

it('reaches no memory before somebody has it open', () => {
  const model = new Model()
  expect(() => model.dma).toThrow(expect.objectContaining({ code: 'ENXIO' }))
  using host = new SoftwareHost()
  host.pci.add(ADDRESS, model, { driver: 'vfio-pci' })
  expect(() => model.dma).toThrow(expect.objectContaining({ code: 'ENXIO' }))
})
