import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HostMemory, mtty, SoftwareHost, isErrno, type FileHandle, type HostProcess } from '../../ts/index.ts'
import { VFIO_TYPE1v2_IOMMU } from '../../ts/uapi/constants.ts'
import { vfioGroupStatus } from '../../ts/uapi/structs.ts'

const errno = (code: string) => expect.objectContaining({ code })
const UUID = '11111111-2222-3333-4444-555555555502'

/** A machine with one mediated serial card, and its group's number. */
function machine() {
  const host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty())
  const mdev = host.mdev.create('mtty-2', UUID)
  return { host, group: mdev.group?.number ?? -1 }
}

describe('nodes of a group', () => {
  it('come and go with the device', async () => {
    const { host, group } = machine()
    const path = `/sys/devices/virtual/mtty/mtty/${UUID}`
    expect(host.dev.stat(`/dev/vfio/${group}`).mode).toBe(0o20600)
    expect(host.dev.stat('/dev/vfio/devices/vfio0').mode).toBe(0o20600)
    expect(host.sysfs.list(`${path}/vfio-dev`)).toEqual(['vfio0'])
    expect(host.sysfs.list('/sys/class/vfio-dev/vfio0/')).toEqual(['dev', 'device', 'power', 'subsystem', 'uevent'])
    expect(host.sysfs.read('/sys/class/vfio-dev/vfio0/dev')).toBe('511:0\n')
    expect(host.sysfs.read(`/sys/class/vfio/${group}/uevent`)).toContain(`DEVNAME=vfio/${group}\n`)
    await host.mdev.get(UUID)?.remove()
    expect(host.dev.list('/dev/vfio')).toEqual(['vfio'])
    expect(host.sysfs.list('/sys/class/vfio-dev')).toEqual([])
    host.close()
  })
})

describe('files of a process', () => {
  it('do the dance of container, group and device', () => {
    const { host, group } = machine()
    using process = host.process()
    const container = process.open('/dev/vfio/vfio')
    const file = process.open(`/dev/vfio/${group}`)
    expect(() => process.open(`/dev/vfio/${group}`)).toThrow(errno('EBUSY'))
    expect(container.ioctl('VFIO_GET_API_VERSION')).toBe(0)
    const status = vfioGroupStatus.bytes({ argsz: vfioGroupStatus.size, flags: 0 })
    expect(file.ioctl('VFIO_GROUP_GET_STATUS', status)).toBe(0)
    expect(vfioGroupStatus.decode(status).flags).toBe(1)
    expect(file.ioctl('VFIO_GROUP_SET_CONTAINER', s32(container.fd))).toBe(0)
    expect(container.ioctl('VFIO_SET_IOMMU', VFIO_TYPE1v2_IOMMU)).toBe(0)
    const device = process.file(file.ioctl('VFIO_GROUP_GET_DEVICE_FD', UUID))
    const config = new Uint8Array(4)
    expect(device.read(config, 7n << 40n)).toBe(4)
    expect([...config]).toEqual([0x48, 0x43, 0x53, 0x32])
    expect(() => file.ioctl('VFIO_GROUP_UNSET_CONTAINER')).toThrow(errno('EBUSY'))
    device.close()
    expect(() => device.read(config, 0n)).toThrow(errno('EBADF'))
    file.ioctl('VFIO_GROUP_UNSET_CONTAINER')
    host.close()
    expect(process.exited).toBe(true)
  })

  it('number descriptors from the lowest free one', () => {
    using host = new SoftwareHost()
    using process = host.process({ nofile: 6 })
    const [a, b, c] = [process.open('/dev/vfio/vfio'), process.eventfd(), process.open('/dev/vfio/vfio')]
    expect([a.fd, b.fd, c.fd]).toEqual([3, 4, 5])
    expect(() => process.eventfd()).toThrow(errno('EMFILE'))
    b.close()
    b.close()
    const again = process.eventfd(7n)
    expect(again.fd).toBe(4)
    expect(b.closed).toBe(true)
    expect(() => b.read(new Uint8Array(8))).toThrow(errno('EBADF'))
    expect(process.file(4)).toBe(again)
    expect(process.fileOrUndefined(99)).toBeUndefined()
    expect(() => process.file(-1)).toThrow(errno('EBADF'))
  })

  it('share an open file among duplicates and children', () => {
    const { host, group } = machine()
    const process = host.process()
    const first = process.open(`/dev/vfio/${group}`)
    const second = first.dup()
    const child = process.fork()
    first.close()
    second.close()
    expect(() => process.open(`/dev/vfio/${group}`)).toThrow(errno('EBUSY'))
    child.exit()
    process.open(`/dev/vfio/${group}`).close()
    host.close()
  })

  it('look at modes', () => {
    const { host, group } = machine()
    const user = host.process({ uid: 1000, gid: 1000 })
    expect(() => user.open(`/dev/vfio/${group}`)).toThrow(errno('EACCES'))
    host.dev.chown(`/dev/vfio/${group}`, 1000, 1000)
    user.open(`/dev/vfio/${group}`).close()
    host.dev.chmod(`/dev/vfio/${group}`, 0o400)
    expect(() => user.open(`/dev/vfio/${group}`)).toThrow(errno('EACCES'))
    using reader = user.open(`/dev/vfio/${group}`, 'r')
    expect(() => reader.write(new Uint8Array(1))).toThrow(errno('EBADF'))
    expect(() => reader.read(new Uint8Array(1))).toThrow(errno('EINVAL'))
    expect(() => reader.mmap({ length: 4096 })).toThrow(errno('EACCES'))
    expect(() => reader.mmap({ length: 4096, write: false })).toThrow(errno('ENODEV'))
    expect(() => reader.ioctl('VFIO_GET_API_VERSION')).toThrow(errno('ENOTTY'))
    host.close()
  })

  it('refuse paths that lead nowhere', () => {
    using host = new SoftwareHost()
    using process = host.process()
    expect(() => process.open('/dev/vfio/3')).toThrow(errno('ENOENT'))
    expect(() => process.open('/dev/vfio')).toThrow(errno('EISDIR'))
    expect(() => process.open('/dev/vfio/vfio/x')).toThrow(errno('ENOTDIR'))
    expect(() => process.open('/etc/passwd')).toThrow(errno('ENOENT'))
    expect(() => process.open('/dev/vfio/vfio', 'rwx' as never)).toThrow(TypeError)
    expect(() => process.openGroup(3)).toThrow(errno('ENOENT'))
  })

  it('carry events and bytes', () => {
    using host = new SoftwareHost()
    using process = host.process()
    const event = process.eventfd(2n)
    expect(event.poll()).toBe(5)
    event.write(new Uint8Array(BigUint64Array.of(3n).buffer))
    const count = new BigUint64Array(1)
    expect(event.read(count)).toBe(8)
    expect(count[0]).toBe(5n)
    expect(() => event.read(count)).toThrow(errno('EAGAIN'))
    const pipe = process.pipe()
    pipe.write.write(Uint8Array.of(1, 2, 3))
    const into = new Uint8Array(8)
    expect(pipe.read.read(into)).toBe(3)
    expect(() => pipe.read.write(into)).toThrow(errno('EBADF'))
  })
})

describe('memory of a process', () => {
  it('lies where it was mapped', () => {
    using host = new SoftwareHost()
    using process = host.process()
    using memory = HostMemory.allocate(8192)
    const address = process.map(memory, { align: 1 << 21 })
    expect(address % BigInt(1 << 21)).toBe(0n)
    process.writeMemory(address + 4096n, Uint8Array.of(1, 2, 3))
    expect([...memory.read(4096, 3)]).toEqual([1, 2, 3])
    process.protect(address, 4096, { read: true, write: false })
    expect(() => process.writeMemory(address, Uint8Array.of(1))).toThrow(errno('EFAULT'))
    process.unmap(address + 4096n, 4096)
    expect(() => process.readMemory(address + 4096n, 1)).toThrow(errno('EFAULT'))
    const child = process.fork()
    expect([...child.readMemory(address, 1)]).toEqual([0])
    expect(() => child.readMemory(address + 4096n, 1)).toThrow(errno('EFAULT'))
    expect(() => child.writeMemory(address, Uint8Array.of(1))).toThrow(errno('EFAULT'))
    child.exit()
  })

  it('is locked within limits', () => {
    using host = new SoftwareHost()
    using memory = HostMemory.allocate(8192)
    const process = host.process({ dropCapabilities: ['CAP_IPC_LOCK'], memlock: 4096 })
    const address = process.map(memory)
    expect(() => process.mlock(address, 8192)).toThrow(errno('ENOMEM'))
    process.mlock(address, 4096)
    expect(process.lockedVm).toBe(1n)
    process.setMemlock(8192)
    process.mlock(address, 8192)
    expect(process.lockedVm).toBe(2n)
    process.munlock(address, 8192)
    expect(process.lockedVm).toBe(0n)
  })

  it('has an address for mapped files', () => {
    using host = new SoftwareHost()
    using process = host.process()
    using memory = HostMemory.allocate(8192)
    memory.writeU32(4096, 0x1234)
    const file = process.openMemory(memory)
    const mapping = file.mmap({ offset: 4096, length: 4096 })
    expect(mapping.read(0n, 4)).toBe(0x1234n)
    expect(new Uint16Array(process.readMemory(process.addressOf(mapping), 2).buffer)[0]).toBe(0x1234)
    mapping.close()
    expect(() => process.addressOf(mapping)).toThrow(errno('EINVAL'))
  })
})

describe('typed handles', () => {
  it('work in the default process', () => {
    const { host, group: number } = machine()
    using container = host.openContainer()
    using group = host.openGroup(number)
    group.setContainer(container)
    container.setIommu(VFIO_TYPE1v2_IOMMU)
    expect(host.group(number).status()).toEqual({ viable: true, containerSet: true })
    using ram = HostMemory.allocate(1 << 20)
    container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
    using device = group.getDevice(UUID)
    expect(device.info().numRegions).toBe(9)
    expect(container.unmapAll()).toBe(1n << 20n)
  })
})

describe('whatever a program does', () => {
  it('is answered with a value or an errno', () => {
    const requests = fc.oneof(fc.nat({ max: 0xffff }), fc.integer({ min: 0x3b64, max: 0x3bff }))
    const argument = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.constantFrom(UUID, '', 0n, 3n, 1n),
      fc.integer({ min: 3, max: 8 }).map(s32),
    )
    const step = fc.oneof(
      fc.record({
        op: fc.constant('open' as const),
        path: fc.constantFrom('/dev/vfio/vfio', '/dev/vfio/0', '/dev/vfio/devices/vfio0', '/dev/iommu'),
      }),
      fc.record({ op: fc.constant('ioctl' as const), fd: fc.integer({ min: 3, max: 8 }), request: requests, argument }),
      fc.record({
        op: fc.constantFrom('read' as const, 'write' as const),
        fd: fc.integer({ min: 3, max: 8 }),
        length: fc.nat(300),
        at: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      }),
      fc.record({
        op: fc.constant('mmap' as const),
        fd: fc.integer({ min: 3, max: 8 }),
        at: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        length: fc.bigInt({ min: 0n, max: 2n ** 40n }),
      }),
      fc.record({ op: fc.constantFrom('close' as const, 'dup' as const), fd: fc.integer({ min: 3, max: 8 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { host, group } = machine()
        const process = host.process({ nofile: 9 })
        for (const one of steps) attempt(() => run(process, one))
        process.exit()
        process.exit()
        const after = host.process()
        after.open(`/dev/vfio/${group}`).close()
        host.close()
      }),
      { numRuns: 150 },
    )
  })
})

type Step = {
  op: string
  fd?: number
  path?: string
  request?: number
  argument?: unknown
  length?: number | bigint
  at?: bigint
}

function run(process: HostProcess, step: Step): unknown {
  if (step.op === 'open') return process.open(step.path ?? '')
  const file: FileHandle = process.file(step.fd ?? 3)
  switch (step.op) {
    case 'ioctl':
      return file.ioctl(step.request ?? 0, step.argument as never)
    case 'read':
      return file.read(new Uint8Array(Number(step.length)), step.at)
    case 'write':
      return file.write(new Uint8Array(Number(step.length)), step.at)
    case 'mmap':
      return file.mmap({ offset: step.at ?? 0n, length: step.length ?? 0n })
    case 'dup':
      return file.dup()
    default:
      return file.close()
  }
}

function attempt(call: () => unknown): void {
  try {
    call()
  } catch (error) {
    if (!isErrno(error)) throw error
  }
}

function s32(value: number): Uint8Array {
  return new Uint8Array(Int32Array.of(value).buffer)
}
