/** Devices that a guest uses move from one machine to another, and go on there. */
import {
  EventFd,
  HostMemory,
  MigrationMachine,
  mtty,
  PciModel,
  SoftwareHost,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  VfioError,
  type DmaLoggingOps,
  type FileHandle,
  type HostProcess,
  type MigrationStream,
  type MigrationTransfer,
} from 'vfio'
import { vfioDeviceFeature, vfioDeviceFeatureMigState, vfioDeviceInfo, vfioIrqSet, vfioPrecopyInfo } from 'vfio/uapi'
import { describe, expect, it } from 'vitest'
import { outcome } from '../outcome.ts'

/** A machine with a serial card that a process of it has open by files. */
function serialMachine() {
  const host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty())
  const { uuid } = host.mdev.create('mtty-1')
  const process = host.process()
  const container = process.open('/dev/vfio/vfio')
  const group = process.open(`/dev/vfio/${host.groupOf(uuid).number}`)
  group.ioctl('VFIO_GROUP_SET_CONTAINER', new Uint8Array(Int32Array.of(container.fd).buffer))
  container.ioctl('VFIO_SET_IOMMU', VFIO_TYPE1v2_IOMMU)
  const card = process.file(group.ioctl('VFIO_GROUP_GET_DEVICE_FD', uuid))
  card.ioctl('VFIO_DEVICE_GET_INFO', vfioDeviceInfo.bytes({ argsz: 24 }))
  return { host, process, card, [Symbol.dispose]: () => host.close() }
}

/** Moves a card to a state; gives the file of its data where one is opened. */
function setState(process: HostProcess, card: FileHandle, deviceState: number): FileHandle | undefined {
  const bytes = new Uint8Array(vfioDeviceFeature.size + vfioDeviceFeatureMigState.size)
  const flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE
  vfioDeviceFeature.encode({ argsz: bytes.length, flags: flags | 0 }, bytes)
  vfioDeviceFeatureMigState.encode({ deviceState, dataFd: -1 }, bytes, vfioDeviceFeature.size)
  card.ioctl('VFIO_DEVICE_FEATURE', bytes)
  const { dataFd } = vfioDeviceFeatureMigState.decode(bytes, vfioDeviceFeature.size)
  return dataFd < 0 ? undefined : process.file(dataFd)
}

function state(card: FileHandle): number {
  const bytes = new Uint8Array(vfioDeviceFeature.size + vfioDeviceFeatureMigState.size)
  const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE
  vfioDeviceFeature.encode({ argsz: bytes.length, flags }, bytes)
  card.ioctl('VFIO_DEVICE_FEATURE', bytes)
  return vfioDeviceFeatureMigState.decode(bytes, vfioDeviceFeature.size).deviceState
}

/** Copies what a file has now into another. */
function pour(from: FileHandle | undefined, into: FileHandle | undefined): number {
  let total = 0
  const piece = new Uint8Array(7)
  for (let count = from?.read(piece) ?? 0; count > 0; count = from?.read(piece) ?? 0) {
    total += count
    into?.write(piece.subarray(0, count))
  }
  return total
}

function takeEvents(process: HostProcess, card: FileHandle): () => number {
  const event = process.eventfd()
  const request = new Uint8Array(vfioIrqSet.size + 4)
  const flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER
  const index = VFIO_PCI_MSI_IRQ_INDEX
  vfioIrqSet.encode({ argsz: request.length, flags, index, start: 0, count: 1 }, request)
  new DataView(request.buffer).setInt32(vfioIrqSet.size, event.fd, true)
  card.ioctl('VFIO_DEVICE_SET_IRQS', request)
  return () => {
    const counter = new BigUint64Array(1)
    return outcome(() => event.read(counter)) === 8 ? Number(counter[0]) : 0
  }
}

const register = (card: FileHandle, at: number): number => {
  const byte = new Uint8Array(1)
  card.read(byte, BigInt(at))
  return byte[0] ?? 0
}
const set = (card: FileHandle, at: number, value: number) => card.write(Uint8Array.of(value), BigInt(at))

const [DATA, IER, FCR, LCR, MCR, SCRATCH] = [0, 1, 2, 3, 4, 7]

/** What a guest's driver does at its start: FIFO on, receive interrupts, a baud rate. */
function drive(card: FileHandle): void {
  set(card, FCR, 0x01)
  set(card, LCR, 0x83)
  set(card, DATA, 0x0c)
  set(card, LCR, 0x03)
  set(card, MCR, 0x03)
  set(card, IER, 0x01)
  set(card, SCRATCH, 0x5a)
}

describe('a serial card that a guest drives', () => {
  it('goes on elsewhere with its bytes, registers and interrupts', () => {
    using source = serialMachine()
    using target = serialMachine()
    drive(source.card)
    const events = takeEvents(source.process, source.card)
    for (const byte of [10, 20, 30, 40]) set(source.card, DATA, byte)
    expect(events()).toBe(1)
    expect(register(source.card, DATA)).toBe(10)

    const out = setState(source.process, source.card, VFIO_DEVICE_STATE_STOP_COPY)
    const into = setState(target.process, target.card, VFIO_DEVICE_STATE_RESUMING)
    expect(pour(out, into)).toBe(60)
    expect(setState(target.process, target.card, VFIO_DEVICE_STATE_RUNNING)).toBeUndefined()
    expect([state(source.card), state(target.card)]).toEqual([VFIO_DEVICE_STATE_STOP_COPY, VFIO_DEVICE_STATE_RUNNING])
    source.host.close() // nothing of the source is needed any more

    const there = takeEvents(target.process, target.card)
    expect([IER, LCR, MCR, SCRATCH].map((at) => register(target.card, at))).toEqual([0x01, 0x03, 0x03, 0x5a])
    expect([1, 2, 3].map(() => register(target.card, DATA))).toEqual([20, 30, 40])
    set(target.card, DATA, 50)
    expect(there()).toBe(1)
    expect(register(target.card, DATA)).toBe(50)
  })

  it('is used on while the first part moves, and loses nothing', () => {
    using source = serialMachine()
    using target = serialMachine()
    drive(source.card)
    set(source.card, DATA, 1)
    const out = setState(source.process, source.card, VFIO_DEVICE_STATE_PRE_COPY)
    const into = setState(target.process, target.card, VFIO_DEVICE_STATE_RESUMING)
    const info = vfioPrecopyInfo.bytes({ argsz: vfioPrecopyInfo.size })
    out?.ioctl('VFIO_MIG_GET_PRECOPY_INFO', info)
    expect(vfioPrecopyInfo.decode(info)).toMatchObject({ initialBytes: 24n, dirtyBytes: 0n })
    expect(pour(out, into)).toBe(24)
    set(source.card, DATA, 2)
    set(source.card, SCRATCH, 0x77)
    expect(setState(source.process, source.card, VFIO_DEVICE_STATE_PRE_COPY_P2P)).toBeUndefined()
    out?.ioctl('VFIO_MIG_GET_PRECOPY_INFO', info)
    expect(vfioPrecopyInfo.decode(info).initialBytes).toBe(0n)
    expect(setState(source.process, source.card, VFIO_DEVICE_STATE_STOP_COPY)).toBeUndefined()
    expect(outcome(() => out?.ioctl('VFIO_MIG_GET_PRECOPY_INFO', info))).toBe('EINVAL')
    expect(pour(out, into)).toBe(36)
    setState(target.process, target.card, VFIO_DEVICE_STATE_RUNNING)
    expect([register(target.card, DATA), register(target.card, DATA)]).toEqual([1, 2])
    expect(register(target.card, SCRATCH)).toBe(0x77)
    // The source was not given up: it may as well go on.
    setState(source.process, source.card, VFIO_DEVICE_STATE_RUNNING)
    expect(register(source.card, DATA)).toBe(1)
  })
})

const PAGE = 4096
const PAGES = 16
const RAM = 0x10_0000n
/** Registers of the pump. */
const BASE = 0n
const PUMP = 8n
const DONE = 0x10n

/** Writes a running number into the next page of a ring in memory at every ring of its doorbell, and interrupts. */
class Pump extends PciModel {
  override readonly migration = new PumpMigration(this)
  override readonly dmaLogging: DmaLoggingOps = {
    start: (_ranges, pageSize) => {
      this.log = new Set()
      return pageSize
    },
    stop: () => void (this.log = undefined),
    readAndClear: (iova, length, mark) => {
      for (const page of [...(this.log ?? [])].filter((at) => at >= iova && at < iova + length)) {
        mark(page, BigInt(PAGE))
        this.log?.delete(page)
      }
    },
  }
  log: Set<bigint> | undefined
  ring = 0n
  done = 0n
  /** Rung while it must not do DMA. */
  pending = 0n

  constructor() {
    super({ vendor: 0x1234, device: 1, bars: [{ index: 0, size: PAGE, kind: 'memory32' }], msi: 1 })
  }

  override read(_region: number, offset: bigint, data: DataView): void {
    const value = offset === DONE ? this.done : offset === BASE ? this.ring : 0n
    if (data.byteLength === 8) data.setBigUint64(0, value, true)
    else data.setUint32(0, Number(value & 0xffff_ffffn), true)
  }

  override write(_region: number, offset: bigint, data: DataView): void {
    if (offset === BASE) this.ring = data.getBigUint64(0, true)
    if (offset !== PUMP) return
    this.pending++
    this.pump()
  }

  override reset(): void {
    this.ring = this.done = this.pending = 0n
    this.migration.reset()
  }

  pump(): void {
    const state = this.migration.getState()
    if (state !== VFIO_DEVICE_STATE_RUNNING && state !== VFIO_DEVICE_STATE_PRE_COPY) return
    for (; this.pending > 0n; this.pending--) {
      const page = this.ring + (this.done % BigInt(PAGES)) * BigInt(PAGE)
      this.done++
      this.dma.writeU64(page, this.done)
      this.log?.add(page)
      this.irq.msi.trigger(0)
    }
  }
}

/** The ring is told early, the counts once the pump stands still. */
class PumpMigration extends MigrationMachine {
  readonly flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY
  readonly #pump: Pump
  #out: number[] | undefined
  #in: number[] = []

  constructor(pump: Pump) {
    super()
    this.#pump = pump
  }

  dataSize(): bigint {
    return 24n
  }

  protected override step(from: number, to: number): MigrationStream | undefined {
    const saving = new Set([VFIO_DEVICE_STATE_PRE_COPY, VFIO_DEVICE_STATE_PRE_COPY_P2P])
    if (to === VFIO_DEVICE_STATE_RESUMING) {
      this.#in = []
      return { write: (data) => this.#in.push(...data) - this.#in.length + data.length }
    }
    if (from === VFIO_DEVICE_STATE_RESUMING) this.#load()
    if (to === VFIO_DEVICE_STATE_STOP_COPY) return this.#save([this.#pump.done, this.#pump.pending])
    if (saving.has(to)) return saving.has(from) ? undefined : this.#save([])
    this.endStreams()
    return undefined
  }

  protected override entered(): void {
    this.#pump.pump()
  }

  protected override endStreams(): void {
    this.#out = undefined
  }

  #save(rest: readonly bigint[]): MigrationStream | undefined {
    const goesOn = this.#out
    const out = (this.#out ??= [...new Uint8Array(BigUint64Array.of(this.#pump.ring).buffer)])
    out.push(...new Uint8Array(BigUint64Array.from(rest).buffer))
    if (goesOn !== undefined) return undefined
    return {
      read: (length) => Uint8Array.from(out.splice(0, length)),
      precopyInfo: () => ({ initialBytes: BigInt(out.length), dirtyBytes: 0n }),
    }
  }

  #load(): void {
    if (this.#in.length !== 24) throw new VfioError('EINVAL', 'load', { reason: 'the stream ended early' })
    const [ring = 0n, done = 0n, pending = 0n] = new BigUint64Array(Uint8Array.from(this.#in).buffer)
    Object.assign(this.#pump, { ring, done, pending })
  }
}

/** A machine with a pump behind its IOMMU, and the guest's memory. */
function pumpMachine() {
  const host = new SoftwareHost()
  host.pci.add('0000:00:04.0', new Pump(), { driver: 'vfio-pci' })
  const container = host.openContainer()
  const group = host.openGroup(0)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  const ram = HostMemory.allocate(PAGES * PAGE)
  container.mapDma({ iova: RAM, memory: ram, read: true, write: true })
  const device = group.getDevice('0000:00:04.0')
  const config = device.region(7)
  config.writeU16(4, 6)
  const event = EventFd.create()
  device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable([event])
  return { host, container, ram, device, event, bar: device.region(0), [Symbol.dispose]: () => host.close() }
}

type PumpMachine = ReturnType<typeof pumpMachine>

/** Copies the pages that were written since the last time, as a migration of memory does. */
function copyDirty(source: PumpMachine, target: PumpMachine): number {
  const bits = source.device.dmaLogging.report({ iova: RAM, length: BigInt(PAGES * PAGE), pageSize: BigInt(PAGE) })
  let copied = 0
  for (let page = 0; page < PAGES; page++) {
    if (((bits[page >> 3] ?? 0) & (1 << (page & 7))) === 0) continue
    target.ram.copyFrom(source.ram, { offset: page * PAGE, sourceOffset: page * PAGE, length: PAGE })
    copied++
  }
  return copied
}

function ringOf(machine: PumpMachine): number[] {
  return Array.from({ length: PAGES }, (_, page) => Number(machine.ram.readU64(page * PAGE)))
}

describe('a device that does DMA', () => {
  it('moves while it runs: memory, doorbells that came too late, interrupts', () => {
    using source = pumpMachine()
    using target = pumpMachine()
    source.bar.writeU64(BASE, RAM)
    for (let i = 0; i < 3; i++) source.bar.writeU64(PUMP, 0)
    expect(source.event.read()).toBe(3n)
    expect(source.device.migration.flags).toBe(7)
    expect(source.device.migration.dataSize()).toBe(24n)

    source.device.dmaLogging.start([{ iova: RAM, length: PAGES * PAGE }])
    target.ram.copyFrom(source.ram)
    using out = source.device.migration.setState(VFIO_DEVICE_STATE_PRE_COPY) as MigrationTransfer
    using into = target.device.migration.setState(VFIO_DEVICE_STATE_RESUMING) as MigrationTransfer
    expect(out.precopyInfo()).toEqual({ initialBytes: 8n, dirtyBytes: 0n })
    into.write(out.readAll())
    for (let i = 0; i < 2; i++) source.bar.writeU64(PUMP, 0)
    expect(copyDirty(source, target)).toBe(2)
    source.bar.writeU64(PUMP, 0)

    source.device.migration.setState(VFIO_DEVICE_STATE_PRE_COPY_P2P)
    source.bar.writeU64(PUMP, 0) // heard, but no DMA any more
    expect([source.bar.readU64(DONE), source.event.read()]).toEqual([6n, 3n])
    source.device.migration.setState(VFIO_DEVICE_STATE_STOP_COPY)
    into.write(out.readAll())
    expect([copyDirty(source, target), copyDirty(source, target)]).toEqual([1, 0])
    source.device.dmaLogging.stop()
    expect(ringOf(target)).toEqual(ringOf(source))

    target.device.migration.setState(VFIO_DEVICE_STATE_RUNNING_P2P)
    expect(target.bar.readU64(DONE)).toBe(6n)
    target.device.migration.setState(VFIO_DEVICE_STATE_RUNNING)
    expect([target.bar.readU64(DONE), target.event.read()]).toEqual([7n, 1n])
    target.bar.writeU64(PUMP, 0)
    expect(ringOf(target).slice(0, 9)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 0])
    expect(ringOf(source).slice(0, 9)).toEqual([1, 2, 3, 4, 5, 6, 0, 0, 0])
    expect(target.container.faults.total).toBe(0n)
  })

  it('stays where it is when the target refuses what it got', () => {
    using source = pumpMachine()
    using target = pumpMachine()
    source.bar.writeU64(BASE, RAM)
    using out = source.device.migration.setState(VFIO_DEVICE_STATE_STOP_COPY) as MigrationTransfer
    using into = target.device.migration.setState(VFIO_DEVICE_STATE_RESUMING) as MigrationTransfer
    into.write(out.readAll().subarray(0, 23))
    expect(outcome(() => target.device.migration.setState(VFIO_DEVICE_STATE_RUNNING))).toBe('EINVAL')
    expect(target.device.migration.state).toBe(VFIO_DEVICE_STATE_RESUMING)
    source.device.migration.setState(VFIO_DEVICE_STATE_RUNNING)
    source.bar.writeU64(PUMP, 0)
    expect(source.ram.readU64(0)).toBe(1n)
    source.device.migration.setState(VFIO_DEVICE_STATE_STOP)
  })

  it('sleeps while nobody uses it, and says when it wakes', () => {
    using machine = pumpMachine()
    using wake = EventFd.create()
    const { lowPower } = machine.device
    const sleeps = outcome(() => lowPower.enter())
    expect(sleeps).toBeUndefined()
    expect(outcome(() => lowPower.enter())).toBe('EINVAL')
    lowPower.exit()
    lowPower.enter({ wake })
    expect(wake.read()).toBeUndefined()
    machine.bar.readU64(DONE)
    expect(wake.read()).toBe(1n)
    lowPower.exit()
    expect(() => lowPower.enter({ wake: {} as never })).toThrow(TypeError)
    expect(() => lowPower.enter(7 as never)).toThrow(TypeError)
    machine.device.close()
    expect(outcome(() => lowPower.exit())).toBe('EBADF')
  })
})
