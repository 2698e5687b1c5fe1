/** The same calls to a simulated machine's KVM and to the system's own. */
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  capabilities,
  Edu,
  KVM_CAP_DEVICE_CTRL,
  KVM_DEV_VFIO_FILE,
  KVM_DEV_VFIO_FILE_ADD,
  KVM_DEV_VFIO_FILE_DEL,
  KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
  type Kvm,
  openKvm,
  SoftwareHost,
  VFIO_TYPE1v2_IOMMU,
  VfioError,
  type BusDevice,
  type BusDriverOps,
} from 'vfio'
import { vfioDeviceBindIommufd } from 'vfio/uapi'
import { describe, expect, it } from 'vitest'
import { outcome } from '../outcome.ts'

const outcomes = (...runs: (() => unknown)[]): unknown[] => runs.map((run) => outcome(run))

/** What a KVM answers on a machine that is no POWER machine; `other` is an open file that is none of VFIO's. */
function answers(kvm: Kvm, other: number): unknown {
  using machine = kvm.createMachine()
  const tested = outcome(() => machine.testVfioDevice())
  using device = machine.createVfioDevice()
  const second = outcome(() => machine.createVfioDevice())
  const attributes = [
    [KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD],
    [KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_DEL],
    [KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE],
    [KVM_DEV_VFIO_FILE, 9],
    [KVM_DEV_VFIO_FILE + 1, KVM_DEV_VFIO_FILE_ADD],
  ] as const
  const answer = {
    version: kvm.apiVersion(),
    devices: [kvm.checkExtension(KVM_CAP_DEVICE_CTRL), machine.checkExtension(KVM_CAP_DEVICE_CTRL)],
    tested,
    second,
    has: attributes.map(([group, attribute]) => outcome(() => device.testAttribute(group, attribute))),
    get: attributes.map(([group, attribute]) => outcome(() => device.getAttribute(group, attribute))),
    add: outcomes(
      () => device.add(9999),
      () => device.add(-1),
      () => device.add({ fd: other }),
    ),
    delete: outcomes(
      () => device.delete(9999),
      () => device.delete(other),
    ),
    spapr: outcome(() => device.setSpaprTce(9999, 9999)),
  }
  device.close()
  device.close()
  using another = machine.createVfioDevice()
  machine.close()
  kvm.close()
  return {
    ...answer,
    closed: outcomes(
      () => device.add(0),
      () => machine.createVfioDevice(),
      () => kvm.createMachine(),
      () => kvm.apiVersion(),
    ),
    alive: outcome(() => another.testAttribute(KVM_DEV_VFIO_FILE, KVM_DEV_VFIO_FILE_ADD)),
  }
}

const EXPECTED = {
  version: 12,
  devices: [1, 1],
  tested: undefined,
  second: 'EBUSY',
  has: [undefined, undefined, 'ENXIO', 'ENXIO', 'ENXIO'],
  get: ['EPERM', 'EPERM', 'EPERM', 'EPERM', 'EPERM'],
  add: ['EBADF', 'EBADF', 'EINVAL'],
  delete: ['EBADF', 'ENOENT'],
  spapr: 'ENXIO',
  closed: ['EBADF', 'EBADF', 'EBADF', 'EBADF'],
  alive: undefined,
}

describe('a KVM', () => {
  it('answers so on a simulated machine', () => {
    using host = new SoftwareHost()
    using process = host.process()
    const kvm = process.openKvm()
    expect(kvm.backend).toBe('software')
    expect(answers(kvm, process.eventfd().fd)).toEqual(EXPECTED)
  })

  it('answers the same where it is the system’s own, or says what is missing', () => {
    const { available } = capabilities().linuxKvm
    const run = () => {
      const other = openSync('/dev/null', 'r')
      try {
        const kvm = openKvm()
        expect(kvm.backend).toBe('linux')
        return answers(kvm, other)
      } finally {
        closeSync(other)
      }
    }
    // What a system without KVM refuses with depends on why it has none.
    const why = expect.stringMatching(/^(ENOENT|EACCES|EPERM|ENODEV|ENXIO|EOPNOTSUPP)$/)
    expect(outcome(run)).toEqual(available ? EXPECTED : why)
  })

  it('is not opened where there is none, and says what to do', () => {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-kvm-'))
    try {
      expect(() => openKvm(join(folder, 'kvm'))).toThrow(
        expect.objectContaining({ syscall: 'open', code: expect.any(String) }),
      )
      expect(outcome(() => openKvm('/dev/null'))).toMatch(/^(ENODEV|EOPNOTSUPP)$/)
      expect(outcome(() => openKvm('a\0b'))).toMatch(/^(EINVAL|EOPNOTSUPP)$/)
      expect(() => openKvm(7 as never)).toThrow(TypeError)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('the VFIO device of a simulated machine', () => {
  it('holds files by their descriptors, as through its file', () => {
    using host = new SoftwareHost()
    host.pci.add('0000:00:04.0', new Edu(), { driver: 'vfio-pci' })
    using process = host.process()
    using machine = process.openKvm().createMachine()
    const device = machine.createVfioDevice()
    const group = process.open('/dev/vfio/0')
    device.add(group)
    expect(
      outcomes(
        () => device.add(group),
        () => device.add(group.dup()),
      ),
    ).toEqual(['EEXIST', 'EEXIST'])
    process.exit()
    using other = host.process()
    expect(outcome(() => other.open('/dev/vfio/0'))).toBe('EBUSY')
    device.close()
    other.open('/dev/vfio/0').close()
  })

  it('is told of before a device is opened whose driver needs to know the machine', () => {
    using host = new SoftwareHost()
    const seen: (object | undefined)[] = []
    const driver: BusDriverOps<BusDevice> = {
      name: 'needs-kvm',
      openDevice: (_device, _dma, machine) => {
        if (machine === undefined) throw new VfioError('ENODEV', 'open', { reason: 'no virtual machine' })
        seen.push(machine)
      },
    }
    const device = host.vfio.allocBusDevice('needy', driver, { parent: host.addDevice('needy') })
    host.vfio.registerGroupDev(device)
    using process = host.process()
    const kvm = process.openKvm()
    using machine = kvm.createMachine()
    using vfio = machine.createVfioDevice()
    const fdOf = (fd: number) => new Uint8Array(Int32Array.of(fd).buffer)

    const container = process.open('/dev/vfio/vfio')
    const group = process.open('/dev/vfio/0')
    group.ioctl('VFIO_GROUP_SET_CONTAINER', fdOf(container.fd))
    container.ioctl('VFIO_SET_IOMMU', VFIO_TYPE1v2_IOMMU)
    expect(outcome(() => group.ioctl('VFIO_GROUP_GET_DEVICE_FD', 'needy'))).toBe('ENODEV')
    vfio.add(group)
    const user = process.file(group.ioctl('VFIO_GROUP_GET_DEVICE_FD', 'needy'))
    expect(device.machine).toBe(seen[0])
    vfio.delete(group)
    expect(device.machine).toBe(seen[0]) // who has it open keeps it
    user.close()
    expect(device.machine).toBeUndefined()
    expect(outcome(() => group.ioctl('VFIO_GROUP_GET_DEVICE_FD', 'needy'))).toBe('ENODEV')
    group.close()

    const iommufd = process.open('/dev/iommu')
    const cdev = process.open('/dev/vfio/devices/vfio0')
    const bind = () => {
      const bytes = vfioDeviceBindIommufd.bytes({ argsz: vfioDeviceBindIommufd.size, iommufd: iommufd.fd })
      cdev.ioctl('VFIO_DEVICE_BIND_IOMMUFD', bytes)
    }
    expect(outcome(bind)).toBe('ENODEV')
    vfio.add(cdev)
    bind()
    expect(seen).toHaveLength(2)
    expect(seen[0]).toBe(seen[1])
    cdev.close()
    expect(device.machine).toBeDefined() // the machine's VFIO device holds the file
    vfio.close()
    expect(device.machine).toBeUndefined()
  })

  it('takes no junk', () => {
    using host = new SoftwareHost()
    using machine = host.defaultProcess.openKvm().createMachine()
    using device = machine.createVfioDevice()
    for (const junk of [undefined, null, 'x', 1.5, {}, { fd: 'x' }, 2 ** 40])
      expect(() => device.add(junk as never)).toThrow(TypeError)
    expect(() => device.testAttribute(1, -1n)).toThrow(RangeError)
    expect(() => machine.checkExtension('x' as never)).toThrow(TypeError)
    using user = host.process({ uid: 5, gid: 5 })
    host.dev.chmod('/dev/kvm', 0o600)
    expect(outcome(() => user.openKvm())).toBe('EACCES')
  })
})
