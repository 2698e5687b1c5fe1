/** The tarballs for Linux on arm64, in a Node for arm64 that an emulator runs. */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageOf } from '../../ts/native/target.ts'
import { needs } from '../needs.ts'
import { nodeOf } from './node-versions.ts'
import { DMA, DOORBELL_ANSWERS, DOORBELL_CLIENT } from './programs.ts'
import { packed, Project, root, tarballOf, whyNotPacked } from './tarballs.ts'

const NODE = '24.21.0'
const TARBALLS = [tarballOf('vfio'), tarballOf(packageOf('linux-arm64-gnu'))]
const CACHE = process.env['EMULATOR_CACHE'] ?? join(homedir(), '.cache', 'vfio-arm64')
const script = fileURLToPath(new URL('../emulated/make-emulator.sh', import.meta.url))
const possible = process.platform === 'linux' && process.arch === 'x64'

describe('on arm64', () => {
  needs(possible, 'the emulator is one for Linux on x86-64')
  needs(packed && TARBALLS.every(existsSync), whyNotPacked)
  let project: Project

  beforeAll(() => {
    if (!possible || !packed) return
    const made = spawnSync('bash', [script], { encoding: 'utf8' })
    if (made.status !== 0) throw new Error(`no emulator: ${made.stderr}`)
    const emulator = [join(CACHE, 'qemu-aarch64'), '-L', join(CACHE, 'sysroot')] as const
    project = new Project(...emulator, nodeOf(NODE, 'linux-arm64'))
    // npm itself need not be emulated; it would keep the package for another processor out.
    project.install(TARBALLS, process.execPath, '--force')
  }, 300_000)

  afterAll(() => {
    project?.remove()
  })

  it('loads and does DMA', { timeout: 120_000 }, () => {
    writeFileSync(project.path('imports.mjs'), `import * as vfio from 'vfio'\n${DMA}`)
    expect(project.run('imports.mjs')).toBe('c0ffee true')
    const about = "const { target } = require('vfio').capabilities(); target + ' ' + process.arch"
    expect(project.run('-p', about)).toBe('linux-arm64-gnu arm64')
  })

  it.each([
    ['assign-device.js', /the device copied 0xc0ffee/],
    ['driver.js', /10! is 3628800\nto the device and back\nrefused DMA: 0/],
    ['mdev-in-ts.js', /1024 squared is 1048576[^]*devices left: 0/],
    ['spapr-windows.js', /the device copied 0xcafe/],
  ])('runs the example %s', { timeout: 120_000 }, (example, printed) => {
    expect(project.run(`node_modules/vfio/examples/${example}`)).toMatch(printed)
  })

  it('serves a model to another process, memory by descriptor', { timeout: 120_000 }, async () => {
    writeFileSync(project.path('client.mjs'), DOORBELL_CLIENT)
    const socket = project.path('bell.sock')
    const server = await project.start('node_modules/vfio/examples/serve-to-qemu.js', socket)
    expect(project.run('client.mjs', socket)).toBe(DOORBELL_ANSWERS)
    expect((await server.stop()).code).toBe(0)
  })

  it('answers recorded vectors as the kernel did', { timeout: 300_000 }, () => {
    const vectors = ['x86/type1v2', 'x86/device_irq', 'spapr/powernv-64k']
    const files = vectors.map((name) => join(root, 'test', 'conformance', `${name}.json`))
    const output = project.run('node_modules/vfio/dist/cli/main.js', 'conformance', ...files)
    expect(output).toMatch(/\n[1-9]\d* passed, 0 failed, \d+ skipped$/)
  })

  it('gives the addon no excuse on the other processor', () => {
    const told = spawnSync(process.execPath, ['-e', "require('vfio').HostMemory.allocate(4096)"], {
      cwd: project.folder,
      encoding: 'utf8',
    })
    expect(told.stderr).toContain('The native part of vfio does not load on linux-x64-gnu')
    expect(told.stderr).toContain(`${packageOf('linux-x64-gnu')}: not there`)
  })
})
