/** `VFIO_DEVICE_FEATURE_DMA_BUF` by the file door: a part of a BAR behind a descriptor. */
import {
  HostMemory,
  PciModel,
  SoftwareHost,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_TYPE1v2_IOMMU,
} from 'vfio'
import { vfioDeviceFeature } from 'vfio/uapi'
import { afterEach, expect, it } from 'vitest'
import { ADDRESS } from './machine.ts'

const HEADER = vfioDeviceFeature.size
const FIXED = 16
const RANGE = 16

/** The bytes of a request for parts of a region. */
function request(region: number, ...ranges: readonly [offset: bigint, length: bigint][]): Uint8Array {
  const bytes = new Uint8Array(HEADER + FIXED + ranges.length * RANGE)
  const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF
  vfioDeviceFeature.encode({ argsz: bytes.byteLength, flags }, bytes)
  const view = new DataView(bytes.buffer)
  view.setUint32(HEADER, region, true)
  view.setUint32(HEADER + 12, ranges.length, true)
  ranges.flat().forEach((word, i) => view.setBigUint64(HEADER + FIXED + i * 8, word, true))
  return bytes
}

const host = new SoftwareHost()
const memory = HostMemory.allocate(0x4000)
host.pci.add(
  ADDRESS,
  new PciModel({
    vendor: 0x1234,
    device: 1,
    bars: [
      { index: 0, size: 0x4000, kind: 'memory64', memory },
      { index: 2, size: 32, kind: 'io' },
    ],
  }),
  { driver: 'vfio-pci' },
)
const process = host.process()

function openDevice() {
  const container = process.open('/dev/vfio/vfio')
  const group = process.open(`/dev/vfio/${host.groupOf(ADDRESS).number}`)
  group.ioctl('VFIO_GROUP_SET_CONTAINER', new Uint8Array(Int32Array.of(container.fd).buffer))
  container.ioctl('VFIO_SET_IOMMU', VFIO_TYPE1v2_IOMMU)
  const device = process.file(group.ioctl('VFIO_GROUP_GET_DEVICE_FD', ADDRESS))
  opened.push(device, group, container)
  return device
}

const opened: { close(): void }[] = []
afterEach(() => {
  for (const file of opened.splice(0)) file.close()
})

it('gives a descriptor of its own kind for the ranges of a memory BAR', () => {
  const device = openDevice()
  const fd = device.ioctl('VFIO_DEVICE_FEATURE', request(0, [0n, 0x1000n], [0x2000n, 0x2000n]))
  const shared = process.file(fd)
  opened.unshift(shared)
  expect(fd).toBeGreaterThan(device.fd)
  expect(() => shared.ioctl(0)).toThrow(/a dma-buf file takes no requests/)
})

it.each([
  ['no ranges', request(0), 'EINVAL'],
  ['a range that is no pages', request(0, [0x10n, 0x1000n]), 'EINVAL'],
  ['an empty range', request(0, [0n, 0n]), 'EINVAL'],
  ['a BAR of ports', request(2, [0n, 0x1000n]), 'EINVAL'],
  ['no BAR', request(7, [0n, 0x1000n]), 'ENODEV'],
])('refuses %s', (_what, bytes, code) => {
  const device = openDevice()
  expect(() => device.ioctl('VFIO_DEVICE_FEATURE', bytes)).toThrow(expect.objectContaining({ code }))
})
