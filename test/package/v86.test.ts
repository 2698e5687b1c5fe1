/** The machine of `examples/v86-machine`, run from the tarballs: a Debian guest sees the devices on its bus. */
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { needs, needsLinux } from '../needs.ts'
import { packed, Project, root, tarballs, whyNotPacked } from './tarballs.ts'

/** What runs in the guest. */
const SCRIPT = `for device in /sys/bus/pci/devices/*; do
  echo "$(cat $device/vendor) $(cat $device/device) $(cat $device/class)"
done
cat /proc/tty/driver/serial
exit 7
`

describe('the machine in v86', () => {
  needsLinux('packages of Debian')
  needs(packed, whyNotPacked)
  const installed = join(root, 'node_modules', 'v86')
  needs(existsSync(installed), 'v86 is not installed: npm ci')
  let project: Project

  beforeAll(() => {
    if (!packed) return
    project = new Project(process.execPath)
    project.install(tarballs)
    // What `npm install v86` would do with a registry at hand.
    cpSync(installed, project.path('node_modules', 'v86'), { recursive: true })
  }, 60_000)

  afterAll(() => {
    project?.remove()
  })

  it('boots a guest that finds the serial card and the DMA device', { timeout: 600_000 }, () => {
    const example = project.path('node_modules', 'vfio', 'examples', 'v86-machine')
    const made = spawnSync('bash', [join(example, 'make-v86-guest.sh')], { encoding: 'utf8' })
    expect(made.stderr).toMatch(/already there|ready in/)
    writeFileSync(project.path('look.sh'), SCRIPT)
    const args = [join(example, 'main.js'), made.stdout.trim(), '--script', project.path('look.sh'), '--timeout', '500']
    const done = spawnSync(process.execPath, args, { cwd: project.folder, encoding: 'utf8', env: project.env })
    expect(done.stdout).toMatch(/0x4348 0x3253 0x0700/)
    expect(done.stdout).toMatch(/0x1234 0x11e8/)
    expect(done.stdout.match(/uart:16550A/g)?.length).toBeGreaterThanOrEqual(2)
    expect(done.status).toBe(7)
  })
})
