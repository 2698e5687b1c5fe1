import { spawn } from 'node:child_process'
import { readdir, readFile, readlink, realpath, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { Edu, mtty, SoftwareHost } from '../../ts/index.ts'
import { needsFuse } from '../needs.ts'
import { eventually, folder, program, shell, watcher } from './folder.ts'

const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'
const EDU = '0000:00:04.0'

async function machine() {
  const host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty())
  host.pci.add(EDU, new Edu())
  const directory = folder()
  const mount = await host.mount(directory)
  return {
    host,
    directory,
    at: (path: string) => join(directory, path),
    async [Symbol.asyncDispose]() {
      host.close()
      await mount.closed
    },
  }
}

describe('a mounted machine', () => {
  needsFuse()

  it('shows all that the trees show', async () => {
    await using shown = await machine()
    const { host, at } = shown
    const walk = (path: string): [string, string][] =>
      host.sysfs.list(path).flatMap((name) => {
        const child = `${path}/${name}`
        const node = host.sysfs.node(child)
        if (node.kind === 'directory') return [[child, 'directory'] as [string, string], ...walk(child)]
        if (node.kind === 'link') return [[child, `-> ${host.sysfs.readlink(child)}`] as [string, string]]
        return [[child, (node.mode & 0o7777).toString(8)] as [string, string]]
      })
    const look = 'cd "$1" && find sys -mindepth 1 -printf "/%p|%y|%m|%l\\n"'
    const found = (await shell(look, at(''))).stdout.trimEnd().split('\n').sort()
    const expected = walk('/sys').map(([path, what]) => {
      if (what === 'directory') return `${path}|d|755|`
      return what.startsWith('-> ') ? `${path}|l|777|${what.slice(3)}` : `${path}|f|${what}|`
    })
    expect(found).toEqual(expected.sort())
    expect(found.length).toBeGreaterThan(100)
  })

  it('reads texts of the length that they have, and bytes at offsets', async () => {
    await using shown = await machine()
    const { host, at } = shown
    const type = '/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2'
    expect(await readFile(at(`${type}/available_instances`), 'utf8')).toBe('12\n')
    const { stdout } = await shell('cat "$1"; stat -c "%s %F" "$1"', at(`${type}/name`))
    expect(stdout).toBe(`${host.sysfs.read(`${type}/name`)}4096 regular file\n`)
    const config = at(`/sys/bus/pci/devices/${EDU}/config`)
    expect((await shell('od -An -tx1 -j0 -N4 "$1"', config)).stdout.trim()).toBe('34 12 e8 11')
    expect((await shell('od -An -tx1 -j2 -N1 "$1"', config)).stdout.trim()).toBe('e8')
    expect(await readFile(config)).toEqual(Buffer.from(host.sysfs.readBytes(`/sys/bus/pci/devices/${EDU}/config`)))
  })

  it('makes a text anew when reading begins anew', async () => {
    await using shown = await machine()
    const { host, at } = shown
    let count = 0
    host.sysfs.attr('/sys/kernel/count', { mode: 0o444, show: () => `${++count}\n` })
    const script = `import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print(os.read(fd, 1), os.read(fd, 9), os.pread(fd, 9, 0), os.read(fd, 9))`
    expect((await program('python3', ['-c', script, at('/sys/kernel/count')])).stdout).toBe("b'1' b'\\n' b'2\\n' b''\n")
  })

  it('hands every write over as one store, and its errno back', async () => {
    await using shown = await machine()
    const { host, at } = shown
    const stored: string[] = []
    host.sysfs.attr('/sys/kernel/note', { mode: 0o200, store: (text) => void stored.push(text) })
    expect((await shell('printf abc > "$1"; (printf d; printf e) >> "$1"', at('/sys/kernel/note'))).code).toBe(0)
    expect(stored.splice(0)).toEqual(['abc', 'd', 'e'])
    await writeFile(at('/sys/kernel/note'), 'x'.repeat(5000))
    expect(stored.map((text) => text.length)).toEqual([4096, 904])
    const create = at('/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/create')
    expect((await shell('printf %s "$2" > "$1"', create, UUID)).code).toBe(0)
    expect(host.sysfs.exists(`/sys/bus/mdev/devices/${UUID}`)).toBe(true)
    await expect(writeFile(create, UUID)).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(writeFile(create, 'no uuid')).rejects.toMatchObject({ code: 'EINVAL' })
    expect((await shell('echo 1 > "$1"', at(`/sys/bus/mdev/devices/${UUID}/remove`))).code).toBe(0)
    expect(host.sysfs.exists(`/sys/bus/mdev/devices/${UUID}`)).toBe(false)
  })

  it('refuses what sysfs refuses', async () => {
    await using shown = await machine()
    const { at } = shown
    const type = at('/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1')
    const errno = async (script: string, ...args: string[]): Promise<string> => {
      const call = `import os, sys
try: ${script}
except OSError as error: print(error.errno)
else: print(0)`
      return (await program('python3', ['-c', call, ...args])).stdout.trim()
    }
    const [EPERM, ENOENT, EACCES, EINVAL] = ['1', '2', '13', '22']
    expect(await errno('os.open(sys.argv[1], os.O_RDONLY)', `${type}/create`)).toBe(EACCES)
    expect(await errno('os.open(sys.argv[1], os.O_WRONLY)', `${type}/name`)).toBe(EACCES)
    expect(await errno('os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)', `${type}/other`)).toBe(EACCES)
    expect(await errno('os.open(sys.argv[1], os.O_RDONLY)', `${type}/other`)).toBe(ENOENT)
    expect(await errno('os.mkdir(sys.argv[1])', `${type}/other`)).toBe(EPERM)
    expect(await errno('os.rmdir(sys.argv[1])', `${type}/devices`)).toBe(EPERM)
    expect(await errno('os.unlink(sys.argv[1])', `${type}/name`)).toBe(EPERM)
    expect(await errno('os.symlink("x", sys.argv[1])', `${type}/other`)).toBe(EPERM)
    expect(await errno('os.rename(sys.argv[1] + "/name", sys.argv[1] + "/x")', type)).toBe(EPERM)
    expect(await errno('os.readlink(sys.argv[1])', `${type}/name`)).toBe(EINVAL)
    expect(await errno('os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)', `${type}/create`)).toBe(
      '0',
    )
  })

  it('has links that stay inside, wherever it is mounted', async () => {
    await using shown = await machine()
    const { host, directory, at } = shown
    host.mdev.create('mtty-1', UUID)
    const link = at(`/sys/bus/mdev/devices/${UUID}`)
    expect(await readlink(link)).toBe(`../../../devices/virtual/mtty/mtty/${UUID}`)
    expect(await realpath(join(link, 'mdev_type'))).toMatch(new RegExp(`^${directory}/sys/devices/.*/mtty-1$`))
  })

  it('answers ENODEV from a file whose attribute has gone, and has no such name', async () => {
    await using shown = await machine()
    const { host, at } = shown
    const { uuid } = host.mdev.create('mtty-1', UUID)
    const script = `import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
directory = os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY)
print('open', flush=True)
sys.stdin.readline()
for call in (lambda: os.read(fd, 9), lambda: os.listdir(directory), lambda: os.stat(sys.argv[1])):
    try: print(call())
    except OSError as error: print(error.errno)`
    const child = spawn('python3', ['-c', script, at(`/sys/bus/mdev/devices/${uuid}/uevent`)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    expect((await lines.next()).value).toBe('open')
    await host.mdev.get(uuid)?.remove()
    child.stdin.end('\n')
    const [ENODEV, ENOENT] = ['19', '2']
    expect((await lines.next()).value).toBe(ENODEV)
    expect((await lines.next()).value).toBe(ENOENT)
    expect((await lines.next()).value).toBe(ENOENT)
  })

  it('shows device nodes, their owners and modes', async () => {
    await using shown = await machine()
    const { host, at } = shown
    host.pci.bind(EDU, 'vfio-pci')
    expect(await readdir(at('/dev/vfio'))).toEqual(['0', 'devices', 'vfio'])
    const node = await stat(at('/dev/vfio/0'))
    expect([node.isCharacterDevice(), node.mode & 0o7777, node.uid]).toEqual([true, 0o600, 0])
    expect((await shell('chown 1000:1001 "$1"; chmod 640 "$1"', at('/dev/vfio/0'))).code).toBe(0)
    expect(host.dev.stat('/dev/vfio/0')).toMatchObject({ mode: 0o20640, uid: 1000, gid: 1001 })
    host.dev.chmod('/dev/vfio/vfio', 0o600)
    expect((await stat(at('/dev/vfio/vfio'))).mode & 0o7777).toBe(0o600)
  })

  it('tells those who watch directories of what comes and goes', async () => {
    await using shown = await machine()
    const { host, at } = shown
    const watched = ['/sys/bus/mdev/devices', '/sys/devices/virtual/mtty/mtty', '/sys/bus/pci/devices', '/dev/vfio']
    await using watching = await watcher(...watched.map(at))
    const { uuid } = host.mdev.create('mtty-1', UUID)
    const twice = (name: string) => watching.seen.filter((line) => line === `rename ${name}`).length
    await eventually(() => expect(twice(uuid)).toBe(2))
    const group = String(host.groupOf(uuid).number)
    await eventually(() => expect(watching.seen).toContain(`rename ${group}`))
    await host.mdev.get(uuid)?.remove()
    await eventually(() => expect(twice(uuid)).toBe(4))
    await eventually(() => expect(twice(group)).toBe(2))
    host.pci.remove(EDU)
    await eventually(() => expect(twice(EDU)).toBe(1))
    host.mdev.create('mtty-1', UUID)
    await eventually(() => expect(twice(uuid)).toBe(6))
    // The trees are as they were: what is told is no change itself.
    expect(await readdir(at('/sys/bus/mdev/devices'))).toEqual([UUID])
  })

  it('shows other notifications as writes to the attribute uevent', async () => {
    await using shown = await machine()
    const { host, at } = shown
    const { uuid } = host.mdev.create('mtty-1', UUID)
    await using watching = await watcher(at(`/sys/bus/mdev/devices/${uuid}/`))
    host.sysfs.write('/sys/bus/mdev/drivers/mtty/unbind', uuid)
    await eventually(() => expect(watching.seen).toContain('change uevent'))
    expect(watching.seen).toContain('rename driver')
  })

  it('lets the writer of remove sleep until the user lets go', async () => {
    await using shown = await machine()
    const { host, at } = shown
    const { uuid } = host.mdev.create('mtty-1', UUID)
    using group = host.openGroup(host.groupOf(uuid).number)
    using container = host.openContainer()
    group.setContainer(container)
    container.setIommu(1)
    const device = group.getDevice(uuid)
    let over = false
    const removing = shell('echo 1 > "$1"', at(`/sys/bus/mdev/devices/${uuid}/remove`)).then((outcome) => {
      over = true
      return outcome
    })
    await new Promise((resolve) => device.once('request', resolve))
    await readdir(at('/sys'))
    expect(over).toBe(false)
    device.close()
    expect((await removing).code).toBe(0)
    expect(host.sysfs.exists(`/sys/bus/mdev/devices/${uuid}`)).toBe(false)
  })

  it('may be one tree only', async () => {
    using host = new SoftwareHost()
    const directory = folder()
    await using mount = await host.mount(directory, { tree: 'sys' })
    expect(mount.directory).toBe(directory)
    expect(await readdir(directory)).toEqual(host.sysfs.list('/sys'))
    await expect(host.mount('x', { tree: 'proc' as never })).rejects.toThrow(TypeError)
  })

  it('is refused by a machine that is closed', async () => {
    const host = new SoftwareHost()
    host.close()
    await expect(host.mount('/nowhere')).rejects.toMatchObject({ code: 'EBADF' })
  })
})
