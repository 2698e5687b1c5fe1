/** A machine of which everything public is open, and what its objects can be called with. */
import fc from 'fast-check'
import {
  Edu,
  EventFd,
  HostMemory,
  mtty,
  PciModel,
  SoftwareHost,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_SPAPR_TCE_v2_IOMMU,
  VFIO_TYPE1v2_IOMMU,
} from 'vfio'

export const EDU = '0000:00:04.0'
export const MODEL = '0000:00:05.0'
export const UUID = '11111111-2222-3333-4444-555555555502'

/** A model with a bit of everything. */
export class Sample extends PciModel {
  constructor() {
    super({
      vendor: 0x1234,
      device: 0x5678,
      msi: 4,
      msix: { vectors: 4, tableBar: 2, tableOffset: 0, pbaBar: 2, pbaOffset: 2048 },
      interruptPin: 1,
      functionReset: true,
      bars: [
        { index: 0, size: 4096, kind: 'memory32' },
        { index: 2, size: 4096, kind: 'memory32' },
      ],
    })
  }
}

/** Objects by name. */
export type Machine = ReturnType<typeof machine>

/** Makes a machine with an edu, a model and an mtty, and opens them all. */
export function machine() {
  const host = new SoftwareHost()
  const model = new Sample()
  const pciDevice = host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })
  host.pci.add(MODEL, model, { driver: 'vfio-pci' })
  const parent = host.mdev.registerParent('mtty', mtty())
  const mdev = host.mdev.create('mtty-2', UUID)
  const container = host.openContainer()
  const group = host.openGroup(host.groupOf(EDU).number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  const modelGroup = host.openGroup(host.groupOf(MODEL).number)
  modelGroup.setContainer(container)
  const emulated = host.openContainer()
  const mdevGroup = host.openGroup(mdev.group?.number ?? -1)
  mdevGroup.setContainer(emulated)
  emulated.setIommu(VFIO_TYPE1v2_IOMMU)
  const memory = HostMemory.allocate(0x10000)
  container.mapDma({ iova: 0, memory, read: true, write: true })
  emulated.mapDma({ iova: 0, memory, read: true, write: true })
  const device = group.getDevice(EDU)
  const modelDevice = modelGroup.getDevice(MODEL)
  const card = mdevGroup.getDevice(UUID)
  for (const each of [device, modelDevice]) each.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, 7)
  const irq = device.irq(1)
  host.pci.add('0000:00:06.0', new Edu(), { driver: 'vfio-pci' })
  const iommufd = host.iommufd()
  const bound = iommufd.bind('0000:00:06.0')
  const ioas = iommufd.allocIoas()
  bound.attach(ioas)
  const hwpt = bound.allocHwpt(ioas)
  const power = new SoftwareHost({ platform: 'powernv' })
  power.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })
  const tce = power.openContainer()
  const tceGroup = power.openGroup(0)
  tceGroup.setContainer(tce)
  tce.setIommu(VFIO_SPAPR_TCE_v2_IOMMU)
  const process = host.process()
  const file = process.open('/dev/vfio/vfio')
  return {
    host,
    groupView: host.group(0),
    sysfs: host.sysfs,
    dev: host.dev,
    pci: host.pci,
    mdevBus: host.mdev,
    pciDevice,
    parent,
    mdev,
    process,
    file,
    eventfdFile: process.eventfd(),
    pipe: process.pipe().read,
    memoryFile: process.openMemory(memory),
    container,
    dirty: container.dirty,
    faults: container.faults,
    emulated,
    group,
    device,
    modelDevice,
    card,
    features: device.features,
    dmaLogging: device.dmaLogging,
    migration: card.migration,
    transfer: card.migration.setState(VFIO_DEVICE_STATE_STOP_COPY) ?? card.migration,
    bar: device.region(0),
    config: device.region(VFIO_PCI_CONFIG_REGION_INDEX),
    map: device.region(0).mmap(),
    irq,
    vectors: irq.enable(1),
    cardIrq: card.irq(0),
    event: EventFd.create(),
    memory,
    dma: model.dma,
    modelIntx: model.irq.intx,
    modelMsi: model.irq.msi,
    modelMsix: model.irq.msix,
    tceDevice: tceGroup.getDevice(EDU),
    tceGroup,
    tce,
    spapr: tce.spapr,
    eeh: tce.spapr.eeh,
    power,
    iommufd,
    bound,
    ioas,
    hwpt,
    HostMemory,
    EventFd,
  }
}

const numbers = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 4, 7, 8, 64, 4096, 0x10000, 0xffff_ffff, 2 ** 32, Number.MAX_SAFE_INTEGER),
  fc.constantFrom(-1, -4096, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 1e300),
)
const bigints = fc.constantFrom(0n, 1n, 4096n, 0x10000n, 1n << 40n, (1n << 64n) - 1n, 1n << 64n, -1n)
const texts = fc.constantFrom(
  '',
  '0',
  'r',
  'read',
  'trigger',
  'get',
  EDU,
  UUID,
  '/sys',
  '/dev/vfio/vfio',
  '/dev/null',
  '\0',
)
const buffers = fc
  .constantFrom(0, 1, 3, 4, 8, 16, 24, 64, 4096)
  .chain((size) =>
    fc.constantFrom(
      new Uint8Array(size),
      new DataView(new ArrayBuffer(size)),
      new ArrayBuffer(size),
      new BigUint64Array(size),
      new SharedArrayBuffer(size),
      new Float32Array(size),
    ),
  )
const nothing = fc.constantFrom(undefined, null, true, false)
const odd = fc.constantFrom<unknown>(Symbol('odd'), () => {}, {}, [], new Date(0), /x/, [1, 'a'], [null, undefined])
const plain = fc.oneof(numbers, bigints, texts, buffers, nothing, odd)

/** Names that the objects' arguments have as members. */
const MEMBERS = [
  ...[
    'iova',
    'length',
    'offset',
    'memory',
    'read',
    'write',
    'pageSize',
    'triples',
    'count',
    'bools',
    'events',
    'start',
  ],
  ...[
    'signal',
    'kind',
    'name',
    'driver',
    'behind',
    'types',
    'ops',
    'caps',
    'memlock',
    'uid',
    'hint',
    'align',
    'shared',
  ],
  ...['secondaryBus', 'quirks', 'ids', 'path', 'show', 'store', 'mode', 'open', 'data', 'probe', 'instances', 'size'],
]

/** Any value that a caller may pass, objects of the machine among them. */
export function anything(objects: readonly unknown[]): fc.Arbitrary<unknown> {
  const value = fc.oneof({ weight: 6, arbitrary: plain }, { weight: 2, arbitrary: fc.constantFrom(...objects) })
  const record = fc.dictionary(fc.constantFrom(...MEMBERS), fc.oneof(value, fc.array(value, { maxLength: 2 })), {
    maxKeys: 5,
  })
  return fc.oneof(
    { weight: 6, arbitrary: value },
    { weight: 2, arbitrary: record },
    fc.array(fc.oneof(value, record), { maxLength: 3 }),
  )
}
