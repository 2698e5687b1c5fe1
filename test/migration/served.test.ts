/** A card that a guest drives moves from a machine here into another program, over vfio-user, and back to a third machine. */
import {
  connect,
  EventFd,
  mtty,
  SoftwareHost,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_RUNNING,
  VFIO_DEVICE_STATE_STOP_COPY,
  VFIO_TYPE1v2_IOMMU,
  type Device,
} from 'vfio'
import { describe, expect, it } from 'vitest'
import { needsLinux } from '../needs.ts'
import { Folder, Program } from '../user/parts.ts'

const [DATA, IER, FCR, SCRATCH] = [0, 1, 2, 7]

function serialMachine() {
  const host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty())
  const { uuid } = host.mdev.create('mtty-2')
  const container = host.openContainer()
  const group = host.openGroup(host.groupOf(uuid).number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  return { device: group.getDevice(uuid), [Symbol.dispose]: () => host.close() }
}

/** Moves the state of a card, which stands still from now on, to another, which runs. */
function move(from: Device, to: Device): void {
  using out = from.migration.setState(VFIO_DEVICE_STATE_STOP_COPY)
  const state = out?.readAll() ?? new Uint8Array()
  expect(state).toHaveLength(24 + 2 * 36)
  using into = to.migration.setState(VFIO_DEVICE_STATE_RESUMING)
  into?.write(state)
  to.migration.setState(VFIO_DEVICE_STATE_RUNNING)
}

describe('a card that a guest drives', () => {
  needsLinux('vfio-user')

  it('goes on in another program, and back', async () => {
    using folder = new Folder()
    await using program = Program.cli('serve', 'mtty-2', '--socket', folder.socket('card'))
    await program.line('listening')
    using here = serialMachine()
    using there = await connect(folder.socket('card'))
    using back = serialMachine()

    const port = here.device.region(0)
    port.writeU8(FCR, 1)
    port.writeU8(IER, 1)
    port.writeU8(SCRATCH, 0x42)
    for (const byte of [1, 2, 3]) port.writeU8(DATA, byte)
    expect(port.readU8(DATA)).toBe(1)
    move(here.device, there)

    using event = EventFd.create()
    const vectors = there.irq(1).enable([event])
    const remote = there.region(0)
    expect([IER, SCRATCH].map((at) => remote.readU8(at))).toEqual([1, 0x42])
    expect([remote.readU8(DATA), remote.readU8(DATA)]).toEqual([2, 3])
    remote.writeU8(DATA, 4)
    remote.readU8(SCRATCH)
    expect(await event.wait()).toBe(1n)
    remote.writeU8(DATA, 5)
    vectors.close()

    move(there, back.device)
    const last = back.device.region(0)
    expect([last.readU8(DATA), last.readU8(DATA), last.readU8(SCRATCH)]).toEqual([4, 5, 0x42])
  })
})
