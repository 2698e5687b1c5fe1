import { setTimeout as delay } from 'node:timers/promises'
import v8 from 'node:v8'
import vm from 'node:vm'
import { expect, it } from 'vitest'
import { HostMemory, isErrno, mtty, SoftwareHost, VFIO_TYPE1v2_IOMMU } from '../../ts/index.ts'

v8.setFlagsFromString('--expose-gc')
const collect = vm.runInNewContext('gc') as () => void

/** Whether there is memory at an address of the default process, after the collector had its chance. */
async function remains(host: SoftwareHost, address: bigint): Promise<boolean> {
  for (let i = 0; i < 20; i++) {
    collect()
    await delay(5)
    try {
      host.defaultProcess.readMemory(address, 1)
    } catch (error) {
      if (isErrno(error, 'EFAULT')) return false
      throw error
    }
  }
  return true
}

it('memory that is forgotten loses its address', async () => {
  using host = new SoftwareHost()
  const address = (() => host.defaultProcess.place(HostMemory.allocate(4096)))()
  expect(await remains(host, address)).toBe(false)
})

it('memory that a mediated device may ask for keeps it until it is unmapped', async () => {
  using host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty())
  const { group: vfio } = host.mdev.create('mtty-1')
  using container = host.openContainer()
  using group = host.openGroup(vfio?.number ?? -1)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  const address = (() => {
    const memory = HostMemory.allocate(4096)
    container.mapDma({ iova: 0, memory, read: true, write: true })
    return host.defaultProcess.place(memory)
  })()
  expect(await remains(host, address)).toBe(true)
  container.unmapDma({ iova: 0, length: 4096 })
  expect(await remains(host, address)).toBe(false)
})
