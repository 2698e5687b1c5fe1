/** A machine whose containers have a type1 IOMMU. */
import { Container } from '../../ts/container/container.ts'
import { IommuDriverRegistry } from '../../ts/container/driver-registry.ts'
import { VfioContainer } from '../../ts/container/vfio-container.ts'
import type { DmaAccess, VfioDeviceOps } from '../../ts/device/ops.ts'
import { VfioDevice } from '../../ts/device/vfio-device.ts'
import { Group } from '../../ts/group/group.ts'
import { Type1Driver } from '../../ts/type1/type1-driver.ts'
import { VFIO_TYPE1v2_IOMMU } from '../../ts/uapi/constants.ts'
import { deviceOps, TestMachine, type TestProcess } from '../parts/machine.ts'

export interface Type1Options {
  model?: number
  entryLimit?: number
  kind?: 'iommu' | 'emulated'
  process?: TestProcess
  ops?: Partial<VfioDeviceOps>
}

/** A container with one group, model chosen and its device open; `dma` is what the device sees. */
export function type1(options: Type1Options = {}) {
  const machine = new TestMachine()
  const process = options.process ?? machine.process
  const drivers = new IommuDriverRegistry()
  drivers.register(
    new Type1Driver({
      geometry: () => ({
        pgsizes: 0x4020_1000n,
        apertureStart: 0n,
        apertureLast: 0xffff_ffff_ffffn,
        cacheCoherency: false,
      }),
      entryLimit: () => options.entryLimit ?? 65535,
    }),
  )
  let dma: DmaAccess | undefined
  const ops = deviceOps({
    ...options.ops,
    openDevice: (view) => void (dma = view),
  })
  const device = new VfioDevice('dev', ops)
  if (options.kind === 'emulated') machine.registry.registerEmulatedIommuDev(device)
  else {
    const reserved = [{ start: 0xfee0_0000n, last: 0xfeef_ffffn, kind: 'msi' as const }]
    const iommuGroup = machine.iommuGroups.create({ reserved })
    iommuGroup.add(machine.member('dev', 'vfio-pci'))
    machine.registry.registerGroupDev(device, iommuGroup)
  }
  const vfioGroup = machine.registry.groupOf(device)
  if (vfioGroup === undefined) throw new Error('no group')
  const container = new Container(new VfioContainer(drivers), process)
  const group = new Group(vfioGroup, process)
  group.setContainer(container)
  container.setIommu(options.model ?? VFIO_TYPE1v2_IOMMU)
  const handle = group.getDevice('dev')
  if (dma === undefined) throw new Error('no view of memory')
  return { machine, process, container, group, handle, device, dma }
}
