/** The tarballs of `npm run pack` as a stranger gets them: installed by npm into an empty folder, without Rust. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageOf, target } from '../../ts/native/target.ts'
import { needs } from '../needs.ts'
import { NODE_VERSIONS, nodeOf } from './node-versions.ts'
import { packed, Project, tarballs, whyNotPacked } from './tarballs.ts'

/** A user's program: maps memory and has a device copy through it. */
const PROGRAM = `
const host = new vfio.SoftwareHost()
host.pci.add('0000:00:04.0', new vfio.Edu(), { driver: 'vfio-pci' })
const container = host.openContainer()
const group = host.openGroup(0)
group.setContainer(container)
container.setIommu(vfio.VFIO_TYPE1v2_IOMMU)
const ram = vfio.HostMemory.allocate(4096)
container.mapDma({ iova: 0, memory: ram, read: true, write: true })
const device = group.getDevice('0000:00:04.0')
device.region(vfio.VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, 6)
const bar = device.region(vfio.VFIO_PCI_BAR0_REGION_INDEX)
ram.writeU32(0, 0xc0ffee)
for (const [source, destination, command] of [[0, 0x40000, 1], [0x40000, 0x100, 3]]) {
  bar.writeU64(0x80, source)
  bar.writeU64(0x88, destination)
  bar.writeU64(0x90, 4)
  bar.writeU64(0x98, command)
}
console.log(ram.readU32(0x100).toString(16), vfio.capabilities().native.available)
for (const thing of [device, group, container, ram, host]) thing.close()
`

/** What the last line of each example looks like; one that is not named only has to end well. */
const LAST_LINES: Readonly<Record<string, RegExp>> = {
  'assign-device.js': /DMA read of 0x4 bytes at 0x200000 refused/,
  'driver.js': /^refused DMA: 0$/,
  'mdev-in-ts.js': /^devices left: 0$/,
  'spapr-windows.js': /stays locked/,
}
/** Runs until it is told to stop; `examples.test.ts` is its client. */
const SERVER = 'serve-to-qemu.js'

describe.each(NODE_VERSIONS)('installed with Node %s', (version) => {
  needs(packed, whyNotPacked)
  let project: Project

  beforeAll(() => {
    if (!packed) return
    project = new Project(nodeOf(version))
    project.install(tarballs)
  }, 300_000)

  afterAll(() => {
    if (packed) rmSync(project.folder, { recursive: true, force: true })
  })

  it('runs on that Node, with no Rust in sight', () => {
    expect(project.run('--version')).toBe(`v${version}`)
    for (const tool of ['cargo', 'rustc']) {
      expect(spawnSync(tool, ['--version'], { env: project.env }).error).toMatchObject({ code: 'ENOENT' })
    }
  })

  it('consists of the facade and the package of the target', () => {
    expect(readdirSync(project.path('node_modules')).filter((name) => !name.startsWith('.'))).toEqual(['@vfio', 'vfio'])
    expect(readdirSync(project.path('node_modules', '@vfio'))).toEqual([target()])
    expect(existsSync(project.path('node_modules', 'vfio', 'native'))).toBe(false)
  })

  it('works when it is imported', () => {
    writeFileSync(project.path('imports.mjs'), `import * as vfio from 'vfio'\n${PROGRAM}`)
    expect(project.run('imports.mjs')).toBe('c0ffee true')
  })

  it('works when it is required', () => {
    writeFileSync(project.path('requires.cjs'), `const vfio = require('vfio')\n${PROGRAM}`)
    expect(project.run('requires.cjs')).toBe('c0ffee true')
    const same = "import { SoftwareHost } from 'vfio'; import { createRequire } from 'node:module'\n"
    writeFileSync(
      project.path('both.mjs'),
      `${same}console.log(createRequire(import.meta.url)('vfio').SoftwareHost === SoftwareHost)`,
    )
    expect(project.run('both.mjs')).toBe('true')
  })

  it('works in a worker beside the main thread', () => {
    const code = `import { Worker, isMainThread } from 'node:worker_threads'
      import { HostMemory } from 'vfio'
      HostMemory.allocate(4096).close()
      console.log(isMainThread)
      if (isMainThread) new Worker(new URL(import.meta.url))`
    writeFileSync(project.path('worker.mjs'), code)
    expect(project.run('worker.mjs').split('\n').toSorted()).toEqual(['false', 'true'])
  })

  it('brings its command along', () => {
    expect(project.run('node_modules/.bin/vfio', 'help')).toContain('serve')
  })

  it('runs its examples', { timeout: 120_000 }, () => {
    const folder = project.path('node_modules', 'vfio', 'examples')
    const examples = readdirSync(folder).filter((file) => file.endsWith('.js') && file !== SERVER)
    expect(examples).toEqual(expect.arrayContaining(Object.keys(LAST_LINES)))
    for (const example of examples) {
      const last = project.run(`node_modules/vfio/examples/${example}`).split('\n').at(-1)
      expect(last, example).toMatch(LAST_LINES[example] ?? /./)
    }
  })
})

describe('without the package of the target', () => {
  needs(packed, whyNotPacked)
  let project: Project

  beforeAll(() => {
    if (!packed) return
    project = new Project(process.execPath)
    project.install(tarballs.slice(0, 1))
  }, 60_000)

  afterAll(() => {
    if (packed) rmSync(project.folder, { recursive: true, force: true })
  })

  it('imports, tells, and works as far as nothing native is needed', () => {
    const code = `import { capabilities, SoftwareHost, HostMemory } from 'vfio'
      import { VFIO_API_VERSION } from 'vfio/uapi'
      const { native, type1 } = capabilities()
      console.log(VFIO_API_VERSION, native.available, type1.available, native.reason.split('\\n')[0])
      const host = new SoftwareHost()
      host.pci.addBridge('0000:00:1e.0', { kind: 'pcie-to-pci' })
      console.log(host.sysfs.list('/sys/bus/pci/devices').join())
      try { HostMemory.allocate(4096) } catch (error) { console.log(error.code, error.message) }`
    writeFileSync(project.path('alone.mjs'), code)
    const output = project.run('alone.mjs')
    expect(output).toContain(
      `0 false false The native part of vfio does not load on ${target()} (Node ${process.version})`,
    )
    expect(output).toContain('0000:00:1e.0')
    expect(output).toContain(`ERR_VFIO_ADDON The native part of vfio does not load on ${target()}`)
    expect(output).toContain(`  ${packageOf(target())}: not there`)
    expect(output).toContain('npm install --include=optional')
  })
})
