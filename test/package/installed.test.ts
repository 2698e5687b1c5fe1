/** The tarballs of `npm run pack` as a stranger gets them: installed by npm into an empty folder, without Rust. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageOf, target } from '../../ts/native/target.ts'
import { needs } from '../needs.ts'
import { NODE_VERSIONS, nodeOf } from './node-versions.ts'
import { DMA, DOORBELL_ANSWERS, DOORBELL_CLIENT } from './programs.ts'
import { packed, Project, tarballs, whyNotPacked } from './tarballs.ts'

/** What the last line of each example looks like; one that is not named only has to end well. */
const LAST_LINES: Readonly<Record<string, RegExp>> = {
  'assign-device.js': /DMA read of 0x4 bytes at 0x200000 refused/,
  'merge-groups.js': /./,
  'driver.js': /^refused DMA: 0$/,
  'mdev-in-ts.js': /^devices left: 0$/,
  'eeh-recovery.js': /^unfrozen: vendor 0x1234, the endpoint is /,
  'spapr-windows.js': /stays locked/,
}
/** Runs until it is told to stop. */
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
    if (packed) project.remove()
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
    writeFileSync(project.path('imports.mjs'), `import * as vfio from 'vfio'\n${DMA}`)
    expect(project.run('imports.mjs')).toBe('c0ffee true')
  })

  it('works when it is required', () => {
    writeFileSync(project.path('requires.cjs'), `const vfio = require('vfio')\n${DMA}`)
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
    const job = ['bench', '--bs', '4k', '--size', '1m', '--time', '0.1', '--json']
    expect(JSON.parse(project.run('node_modules/.bin/vfio', ...job))).toBeTypeOf('object')
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

  it('has the examples of several files, with all that they import', () => {
    const machine = 'node_modules/vfio/examples/v86-machine'
    symlinkSync(
      fileURLToPath(new URL('../../node_modules/v86', import.meta.url)),
      project.path('node_modules', 'v86'),
      'junction',
    )
    writeFileSync(
      project.path('v86.mjs'),
      `for (const file of ['pci-bus', 'v86-inside', 'guest-console', 'guest-files', 'devices'])
         await import(new URL('./${machine}/' + file + '.js', import.meta.url))
       console.log('all there')`,
    )
    expect(project.run('v86.mjs')).toBe('all there')
    for (const file of ['main.js', 'main.ts', 'make-v86-guest.sh', 'debian-packages.sh']) {
      expect(existsSync(project.path(...machine.split('/'), file)), file).toBe(true)
    }
    writeFileSync(
      project.path('electron.mjs'),
      `import { Machine } from './node_modules/vfio/examples/electron-vmm/machine.mjs'
       const machine = new Machine()
       console.log(machine.answer({ id: 1, name: 'send', request: { text: 'hello' } }).answer.echo)
       machine.close()`,
    )
    expect(project.run('electron.mjs')).toBe('hello')
  })

  it('serves the model of an example to a client in another process', { timeout: 60_000 }, async () => {
    writeFileSync(project.path('client.mjs'), DOORBELL_CLIENT)
    const socket = project.path('bell.sock')
    const server = await project.start(`node_modules/vfio/examples/${SERVER}`, socket)
    expect(project.run('client.mjs', socket)).toBe(DOORBELL_ANSWERS)
    const { code, output } = await server.stop()
    expect({ code, output, left: existsSync(socket) }).toEqual({
      code: 0,
      output: expect.stringMatching(/^Attach QEMU[^]*"path":"[^]*has the device\nit has let it go\n$/),
      left: false,
    })
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
    if (packed) project.remove()
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
