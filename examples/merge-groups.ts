/**
 * The VFIO that was proposed in November 2011, from end to end: bus drivers add and bind devices, a program merges two
 * groups, maps memory once for both, is interrupted, and parts them again.
 *
 * The program speaks that header's requests and structures through the files under `/dev/vfio`; a bus driver of its own
 * shows the other side.
 *
 *     node build/examples/merge-groups.js
 */
import { pathToFileURL } from 'node:url'
import { Edu, HostMemory, isErrno, SoftwareHost, type FileHandle, type HostProcess } from 'vfio'
import {
  IOCTL,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DMA_MAP_FLAG_MAP,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_GROUP_FLAGS_MM_LOCKED,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_IRQ_INFO_FLAG_LEVEL,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_RO,
  Vfio2011,
  vfioDeviceInfo,
  vfioDmaMap,
  vfioGroupInfo,
  vfioIommuInfo,
  vfioIrqEventfds,
  vfioIrqInfo,
  vfioRegionInfo,
  vfioUnmaskIrq,
} from 'vfio/2011'

type Tell = (line: string) => void

const LEFT = '0000:00:04.0'
const RIGHT = '0000:00:05.0'
const DRIVER = 'vfio-pci-2011'

/** Configuration space, and the command register in it with the bits for memory and bus mastering. */
const CONFIG = 7n << 40n
const COMMAND = CONFIG + 4n
const MEMORY_AND_BUS_MASTER = 6
/** Registers of the device in BAR 0. */
const RAISE = 0x60n
const ACKNOWLEDGE = 0x64n
const DMA = { source: 0x80n, destination: 0x88n, count: 0x90n, start: 0x98n }
const BUFFER = 0x40000n
const MEMORY_TO_DEVICE = 1n
const DEVICE_TO_MEMORY = 3n

const IOVA = 0x10_0000n
const MESSAGE = 'two groups, one IOMMU'

/** Plays it all and tells it line by line. */
export async function mergeGroups(tell: Tell = console.log): Promise<void> {
  using host = new SoftwareHost()
  const vfio = new Vfio2011(host)
  host.pci.add(LEFT, new Edu(), { driver: DRIVER })
  host.pci.add(RIGHT, new Edu(), { driver: DRIVER })
  tell(`${DRIVER} has bound ${LEFT} and ${RIGHT}: groups ${vfio.groups.join(', ')}`)
  using user = host.process()
  const left = user.open(`/dev/vfio/pci:${host.groupOf(LEFT).number}`)
  const right = user.open(`/dev/vfio/pci:${host.groupOf(RIGHT).number}`)
  useBoth(user, left, right, tell)
  await ownDriver(host, vfio, tell)
}

/** The user's side. */
function useBoth(user: HostProcess, left: FileHandle, right: FileHandle, tell: Tell): void {
  tell(`VFIO_GROUP_GET_INFO: ${groupFlags(left)}`)
  left.ioctl(IOCTL.VFIO_GROUP_MERGE, new Uint8Array(Int32Array.of(right.fd).buffer))
  tell('VFIO_GROUP_MERGE: both share an IOMMU from now on')
  const iommu = user.file(left.ioctl(IOCTL.VFIO_GROUP_GET_IOMMU_FD))
  tell(`VFIO_GROUP_GET_IOMMU_FD, and the other group says: ${groupFlags(right)}`)
  describeIommu(iommu, tell)

  using memory = HostMemory.allocate(4096)
  memory.write(0, new TextEncoder().encode(MESSAGE))
  const mapping = { argsz: vfioDmaMap.size, vaddr: user.map(memory), iova: IOVA, size: BigInt(memory.byteLength) }
  const flags = VFIO_DMA_MAP_FLAG_MAP | VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE
  iommu.ioctl(IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...mapping, flags }))
  tell(`VFIO_IOMMU_MAP_DMA: 4 KiB at 0x${IOVA.toString(16)}`)

  const devices = [user.file(left.ioctl(IOCTL.VFIO_GROUP_GET_DEVICE_FD, LEFT))]
  devices.push(user.file(right.ioctl(IOCTL.VFIO_GROUP_GET_DEVICE_FD, RIGHT)))
  devices.forEach((device, i) => {
    const to = BigInt(i + 1) * 0x100n
    copy(device, IOVA, IOVA + to, MESSAGE.length)
    const copied = new TextDecoder().decode(memory.read(to, MESSAGE.length))
    if (copied !== MESSAGE) throw new Error(`the device copied '${copied}'`)
    tell(`device ${i} copied '${copied}' through it`)
  })
  const [device] = devices as [FileHandle, FileHandle]
  describeDevice(device, tell)
  interrupt(user, device, tell)
  tell(`VFIO_DEVICE_RESET: ${refusal(() => device.ioctl(IOCTL.VFIO_DEVICE_RESET))}`)

  tell(`VFIO_GROUP_UNMERGE with a device open: ${refusal(() => right.ioctl(IOCTL.VFIO_GROUP_UNMERGE))}`)
  for (const open of devices) open.close()
  right.ioctl(IOCTL.VFIO_GROUP_UNMERGE)
  tell(`VFIO_GROUP_UNMERGE: ${groupFlags(left)} here, ${groupFlags(right)} there`)
  iommu.ioctl(IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...mapping, flags: 0 }))
  tell(`VFIO_IOMMU_MAP_DMA without MAP: ${user.lockedVm} pages locked`)
  iommu.close()
}

/** The bus driver's side: a device of one's own, and the data that its driver gets back. */
async function ownDriver(host: SoftwareHost, vfio: Vfio2011, tell: Tell): Promise<void> {
  const device = host.addDevice('dice')
  const data = { rolls: 0 }
  vfio.groupAddDev<typeof data>(device, {
    match: (_device, name) => name === 'dice',
    open: () => {},
    read: (dice, into) => {
      dice.rolls++
      return into.fill(4).length // chosen by a fair roll
    },
  })
  const group = vfio.openGroup('platform:2')
  tell(`group_add_dev: viable is ${group.info().viable}`)
  vfio.bindDev(device, data)
  tell(`bind_dev: viable is ${group.info().viable}`)
  const dice = group.openDevice('dice')
  tell(`a roll of the dice: ${dice.read(0n, 1)[0]}`)
  dice.on('request', (count) => {
    tell(`the driver wants the device back (request ${count})`)
    dice.close()
  })
  const back = await vfio.unbindDev(device)
  tell(`unbind_dev: its data is ${back === data ? 'the same' : 'another'}, with ${data.rolls} roll`)
  vfio.groupDelDev(device)
  group.close()
  tell(`group_del_dev: groups ${vfio.groups.join(', ')}`)
}

function groupFlags(group: FileHandle): string {
  const info = vfioGroupInfo.bytes({ argsz: vfioGroupInfo.size })
  group.ioctl(IOCTL.VFIO_GROUP_GET_INFO, info)
  const { flags } = vfioGroupInfo.decode(info)
  const names = [
    (flags & VFIO_GROUP_FLAGS_VIABLE) !== 0 ? 'VIABLE' : '',
    (flags & VFIO_GROUP_FLAGS_MM_LOCKED) !== 0 ? 'MM_LOCKED' : '',
  ]
  return names.filter(Boolean).join(' | ') || 'nothing'
}

function describeIommu(iommu: FileHandle, tell: Tell): void {
  const info = vfioIommuInfo.bytes({ argsz: vfioIommuInfo.size })
  iommu.ioctl(IOCTL.VFIO_IOMMU_GET_INFO, info)
  const { iovaMin, iovaMax, alignment } = vfioIommuInfo.decode(info)
  tell(`VFIO_IOMMU_GET_INFO: 0x${iovaMin.toString(16)} to 0x${iovaMax.toString(16)}, multiples of ${alignment}`)
}

function describeDevice(device: FileHandle, tell: Tell): void {
  const info = vfioDeviceInfo.bytes({ argsz: vfioDeviceInfo.size })
  device.ioctl(IOCTL.VFIO_DEVICE_GET_INFO, info)
  const { flags, numRegions, numIrqs } = vfioDeviceInfo.decode(info)
  const reset = (flags & VFIO_DEVICE_FLAGS_RESET) !== 0 ? 'can be reset' : 'cannot be reset alone'
  tell(`VFIO_DEVICE_GET_INFO: ${numRegions} regions, ${numIrqs} interrupts, ${reset}`)
  for (let index = 0; index < numRegions; index++) {
    const region = vfioRegionInfo.bytes({ argsz: vfioRegionInfo.size, index })
    if (refusal(() => device.ioctl(IOCTL.VFIO_DEVICE_GET_REGION_INFO, region)) !== 'done') continue
    const { flags, size } = vfioRegionInfo.decode(region)
    if (size === 0n) continue
    const manners = [
      (flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0 ? ', mmap' : '',
      (flags & VFIO_REGION_INFO_FLAG_RO) !== 0 ? ', read-only' : '',
    ]
    tell(`  region ${index}: ${size} bytes${manners.join('')}`)
  }
  for (let index = 0; index < numIrqs; index++) {
    const irq = vfioIrqInfo.bytes({ argsz: vfioIrqInfo.size, index })
    if (refusal(() => device.ioctl(IOCTL.VFIO_DEVICE_GET_IRQ_INFO, irq)) !== 'done') continue
    const { flags, count } = vfioIrqInfo.decode(irq)
    if (count > 0)
      tell(`  interrupt ${index}: ${count}, ${(flags & VFIO_IRQ_INFO_FLAG_LEVEL) !== 0 ? 'level' : 'edge'}`)
  }
}

/** INTx: masked when it was told, unmasked by a request, then by an event. */
function interrupt(user: HostProcess, device: FileHandle, tell: Tell): void {
  const [event, unmask] = [user.eventfd(), user.eventfd()]
  device.ioctl(IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, eventfds(event.fd))
  device.write(Uint8Array.of(1, 0, 0, 0), RAISE)
  tell(`VFIO_DEVICE_SET_IRQ_EVENTFDS, and the line rises: ${take(event)} event, then ${take(event)}`)
  device.ioctl(IOCTL.VFIO_DEVICE_UNMASK_IRQ, vfioUnmaskIrq.bytes({ argsz: vfioUnmaskIrq.size }))
  tell(`VFIO_DEVICE_UNMASK_IRQ while it is up: ${take(event)} event`)
  device.ioctl(IOCTL.VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD, eventfds(unmask.fd))
  unmask.write(BigUint64Array.of(1n))
  tell(`VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD, signalled: ${take(event)} event`)
  device.write(Uint8Array.of(1, 0, 0, 0), ACKNOWLEDGE)
}

function eventfds(fd: number): Uint8Array {
  const request = new Uint8Array(vfioIrqEventfds.size + 4)
  vfioIrqEventfds.encode({ argsz: request.byteLength, flags: 0, index: 0, count: 1 }, request)
  new DataView(request.buffer).setInt32(vfioIrqEventfds.size, fd, true)
  return request
}

function take(event: FileHandle): number {
  const counter = new BigUint64Array(1)
  try {
    event.read(counter)
  } catch (error) {
    if (!isErrno(error, 'EAGAIN')) throw error
  }
  return Number(counter[0])
}

/** Has a device copy bytes from one DMA address to another, through its own buffer. */
function copy(device: FileHandle, from: bigint, to: bigint, length: number): void {
  device.write(Uint8Array.of(MEMORY_AND_BUS_MASTER, 0), COMMAND)
  for (const [source, destination, command] of [
    [from, BUFFER, MEMORY_TO_DEVICE],
    [BUFFER, to, DEVICE_TO_MEMORY],
  ] as const) {
    device.write(BigUint64Array.of(source), DMA.source)
    device.write(BigUint64Array.of(destination), DMA.destination)
    device.write(BigUint64Array.of(BigInt(length)), DMA.count)
    device.write(BigUint64Array.of(command), DMA.start)
  }
}

/** What a call was refused with. */
function refusal(call: () => unknown): string {
  try {
    call()
    return 'done'
  } catch (error) {
    if (!isErrno(error)) throw error
    return error.code
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await mergeGroups()
