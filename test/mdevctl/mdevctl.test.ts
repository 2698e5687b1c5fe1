import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { findMdevctl, managed } from './machine.ts'

const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'
const OTHER = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1002'

let mdevctl: string
let lack: string | undefined
beforeAll(async () => {
  const found = await findMdevctl()
  if ('lack' in found) lack = found.lack
  else mdevctl = found.path
}, 300_000)

describe("Debian's mdevctl on a mounted machine", () => {
  beforeEach((ctx) => {
    if (lack !== undefined) ctx.skip(lack)
  })

  it('is 1.4.0', async () => {
    await using machine = await managed(mdevctl)
    expect((await machine.run('--version')).stdout).toBe('mdevctl 1.4.0\n')
  })

  it('lists types', async () => {
    await using machine = await managed(mdevctl)
    expect(await machine.run('types')).toMatchObject({
      code: 0,
      stdout: `mtty
  mtty-1
    Available instances: 24
    Device API: vfio-pci
    Name: Single port serial
  mtty-2
    Available instances: 12
    Device API: vfio-pci
    Name: Dual port serial
`,
    })
    machine.host.mdev.create('mtty-1', UUID)
    const { stdout } = await machine.run('types', '--dumpjson')
    const type = (name: string, instances: number) => ({
      available_instances: instances,
      device_api: 'vfio-pci',
      name,
    })
    expect(JSON.parse(stdout)).toEqual([
      { mtty: [{ 'mtty-1': type('Single port serial', 23) }, { 'mtty-2': type('Dual port serial', 11) }] },
    ])
  })

  it('takes a device through its life', async () => {
    await using machine = await managed(mdevctl)
    const { host, run } = machine
    expect((await run('define', '--uuid', UUID, '--parent', 'mtty', '--type', 'mtty-2')).code).toBe(0)
    expect((await run('list', '--defined')).stdout).toBe(`${UUID} mtty mtty-2 manual\n`)
    expect(host.mdev.devices).toEqual([])
    expect((await run('start', '--uuid', UUID)).code).toBe(0)
    const device = host.mdev.get(UUID)
    expect([device?.uuid, device?.type.id, device?.parent.name]).toEqual([UUID, 'mtty-2', 'mtty'])
    expect((await run('list')).stdout).toBe(`${UUID} mtty mtty-2 manual (defined)\n`)
    expect((await run('modify', '--uuid', UUID, '--auto')).code).toBe(0)
    const { stdout } = await run('list', '--defined', '--dumpjson')
    expect(JSON.parse(stdout)).toEqual([{ mtty: [{ [UUID]: { mdev_type: 'mtty-2', start: 'auto', attrs: [] } }] }])
    expect((await run('stop', '--uuid', UUID)).code).toBe(0)
    expect(host.mdev.devices).toEqual([])
    expect((await run('list')).stdout).toBe('')
    expect((await run('undefine', '--uuid', UUID)).code).toBe(0)
    expect((await run('list', '--defined')).stdout).toBe('')
  })

  it('sees what our interface does, and the other way round', async () => {
    await using machine = await managed(mdevctl)
    const { host, run } = machine
    const added: string[] = []
    host.mdev.on('add', ({ mdev }) => added.push(mdev?.uuid ?? ''))
    host.mdev.create('mtty-1', UUID)
    expect((await run('list')).stdout).toBe(`${UUID} mtty mtty-1 manual\n`)
    expect((await run('start', '--uuid', OTHER, '--parent', 'mtty', '--type', 'mtty-2')).code).toBe(0)
    expect(added).toEqual([UUID, OTHER])
    using group = host.openGroup(host.groupOf(OTHER).number)
    expect(group.status().viable).toBe(true)
    await host.mdev.get(UUID)?.remove()
    expect((await run('list', '--uuid', UUID)).stdout).toBe('')
    host.mdev.registerParent('second', { types: [{ name: 'one', instances: 1 }], probe: () => ({}) as never })
    expect((await run('types', '--parent', 'second')).stdout).toContain('second-one')
  })

  it('starts devices with what is written to their attributes', async () => {
    await using machine = await managed(mdevctl)
    const { host, run } = machine
    const written: string[] = []
    let speed = '9600'
    host.mdev.registerParent('line', {
      types: [{ name: 'one' }],
      probe: () => ({ getInfo: () => ({ flags: 0, numRegions: 0, numIrqs: 0 }) }) as never,
      deviceAttributes: {
        vendor: {
          speed: {
            show: () => `${speed}\n`,
            store: (_, text) => {
              written.push(text)
              speed = text.trim()
            },
          },
        },
      },
    })
    expect((await run('define', '--uuid', UUID, '--parent', 'line', '--type', 'line-one')).code).toBe(0)
    const set = ['modify', '--uuid', UUID, '--addattr', 'vendor/speed', '--value', '115200']
    expect((await run(...set)).code).toBe(0)
    expect((await run('start', '--uuid', UUID)).code).toBe(0)
    expect([written, speed]).toEqual([['115200'], '115200'])
    const { stdout } = await run('list', '--defined', '--uuid', UUID, '--dumpjson')
    expect(JSON.parse(stdout)).toMatchObject({ attrs: [{ 'vendor/speed': '115200' }] })
  })

  it('says that no instances are left', async () => {
    await using machine = await managed(mdevctl)
    const { host, run } = machine
    for (let i = 0; i < 12; i++) host.mdev.create('mtty-2')
    const { code, stderr } = await run('start', '--parent', 'mtty', '--type', 'mtty-1')
    expect(code).toBe(1)
    expect(stderr).toContain('No available instances of mtty-1 on mtty')
    expect(host.mdev.devices).toHaveLength(12)
  })

  it('refuses a UUID that is none, or is taken, and what there is not', async () => {
    await using machine = await managed(mdevctl)
    const { host, run } = machine
    const start = (uuid: string, parent = 'mtty', type = 'mtty-1') =>
      run('start', '--uuid', uuid, '--parent', parent, '--type', type)
    expect((await start('83b8f4f2')).code).toBe(2)
    host.mdev.create('mtty-1', UUID)
    expect((await start(UUID)).stderr).toContain('already exists')
    expect((await start(OTHER, 'nowhere')).stderr).toContain("Unable to find parent device 'nowhere'")
    expect((await start(OTHER, 'mtty', 'mtty-3')).stderr).toContain('does not support mdev type mtty-3')
    expect((await run('stop', '--uuid', OTHER)).stderr).toContain('is not an active mdev')
    expect(host.mdev.devices.map((device) => device.uuid)).toEqual([UUID])
  })

  it('waits with stop until the user of a device has let go', async () => {
    await using machine = await managed(mdevctl)
    const { host, run } = machine
    expect((await run('start', '--uuid', UUID, '--parent', 'mtty', '--type', 'mtty-2')).code).toBe(0)
    using group = host.openGroup(host.groupOf(UUID).number)
    using container = host.openContainer()
    group.setContainer(container)
    container.setIommu(1)
    const device = group.getDevice(UUID)
    let stopped = false
    const stopping = run('stop', '--uuid', UUID).then((outcome) => {
      stopped = true
      return outcome
    })
    await new Promise((resolve) => device.once('request', resolve))
    expect((await run('types')).stdout).toContain('Available instances: 11')
    expect(stopped).toBe(false)
    device.close()
    expect((await stopping).code).toBe(0)
    expect((await run('list')).stdout).toBe('')
  })

  it('reads definitions as they were written by hand', async () => {
    await using machine = await managed(mdevctl)
    const { definitions, host, run } = machine
    await mkdir(join(definitions, 'mtty'))
    await writeFile(join(definitions, 'mtty', UUID), '{"mdev_type": "mtty-1", "start": "manual", "attrs": []}')
    expect((await run('start', '--uuid', UUID)).code).toBe(0)
    expect(host.mdev.get(UUID)?.type.id).toBe('mtty-1')
    expect((await run('modify', '--uuid', UUID, '--auto')).code).toBe(0)
    expect(JSON.parse(await readFile(join(definitions, 'mtty', UUID), 'utf8'))).toEqual({
      mdev_type: 'mtty-1',
      start: 'auto',
      attrs: [],
    })
  })
})
