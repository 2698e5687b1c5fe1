import { lstat, readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Edu, InertFunction, isErrno, mtty, SoftwareHost } from '../../ts/index.ts'
import { needsFuse } from '../needs.ts'
import { folder } from './folder.ts'

const UUIDS = ['83b8f4f2-509f-382f-3c1e-e6bfe0fa1001', '83b8f4f2-509f-382f-3c1e-e6bfe0fa1002']
const ADDRESSES = ['0000:00:04.0', '0000:00:05.0', '0000:00:06.0']
const DRIVERS = ['vfio-pci', 'pci-stub']

/** Writes that change a machine, right ones and wrong ones. */
const store = fc.oneof(
  fc.record({
    path: fc.constantFrom(
      ...['mtty-1', 'mtty-2', 'mtty-3'].map((type) => `/sys/class/mdev_bus/mtty/mdev_supported_types/${type}/create`),
    ),
    text: fc.constantFrom(...UUIDS, `${UUIDS[0]}\n`, 'no uuid', ''),
  }),
  fc.record({
    path: fc.constantFrom(...UUIDS.map((uuid) => `/sys/bus/mdev/devices/${uuid}/remove`)),
    text: fc.constantFrom('1', '1\n', '0', 'x'),
  }),
  fc.record({
    path: fc.constantFrom(
      ...DRIVERS.flatMap((driver) => ['bind', 'unbind'].map((file) => `/sys/bus/pci/drivers/${driver}/${file}`)),
    ),
    text: fc.constantFrom(...ADDRESSES, '0000:00:09.0'),
  }),
  fc.record({
    path: fc.constantFrom(
      ...ADDRESSES.flatMap((address) =>
        ['driver_override', 'driver/unbind', 'remove', 'rescan', 'enable', 'uevent', 'vendor', 'config'].map(
          (file) => `/sys/bus/pci/devices/${address}/${file}`,
        ),
      ),
      '/sys/bus/pci/drivers_probe',
      '/sys/bus/pci/rescan',
    ),
    text: fc.constantFrom('vfio-pci', '\n', '1', 'change', ...ADDRESSES),
  }),
  fc.record({
    path: fc.constantFrom(...DRIVERS.map((driver) => `/sys/bus/pci/drivers/${driver}/new_id`)),
    text: fc.constantFrom('1234 11e8', '1102 0002', 'zz'),
  }),
)

function machine(): SoftwareHost {
  const host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty())
  host.pci.add('0000:00:04.0', new Edu())
  host.pci.add('0000:00:05.0', new Edu({ id: '1102:0002' }))
  host.pci.add('0000:00:06.0', new InertFunction({ id: '8086:29c0' }))
  return host
}

/** All that a tree shows, by the tree itself. */
function shown(host: SoftwareHost, path = '/sys'): string[] {
  return host.sysfs.list(path).flatMap((name) => {
    const child = `${path}/${name}`
    const node = host.sysfs.node(child)
    if (node.kind === 'directory') return [`${child}/`, ...shown(host, child)]
    if (node.kind === 'link') return [`${child} -> ${host.sysfs.readlink(child)}`]
    return [`${child} ${node.mode.toString(8)} ${answer(() => host.sysfs.read(child))}`]
  })
}

/** All that a tree shows, by its files. */
async function found(root: string, path = '/sys'): Promise<string[]> {
  const names = (await readdir(join(root, path))).sort()
  const parts = await Promise.all(
    names.map(async (name) => {
      const child = `${path}/${name}`
      const at = join(root, child)
      const stat = await lstat(at)
      if (stat.isDirectory()) return [`${child}/`, ...(await found(root, child))]
      if (stat.isSymbolicLink()) return [`${child} -> ${await readlink(at)}`]
      const text = await readFile(at, 'latin1').catch((error: NodeJS.ErrnoException) => error.code)
      return [`${child} ${(stat.mode & 0o7777).toString(8)} ${text}`]
    }),
  )
  return parts.flat()
}

function answer(run: () => string): string {
  try {
    return run()
  } catch (error) {
    return isErrno(error) ? error.code : String(error)
  }
}

describe('a mounted machine and one that is not', () => {
  needsFuse()

  it('answer every history alike, and end alike', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(store, { maxLength: 12 }), async (history) => {
        using plain = machine()
        using mounted = machine()
        const root = folder()
        const mount = await mounted.mount(root)
        try {
          for (const { path, text } of history) {
            const expected = answer(() => String(plain.sysfs.write(path, text)))
            const got = await writeFile(join(root, path), text).then(
              () => String(text.length),
              (error: NodeJS.ErrnoException) => error.code,
            )
            expect([path, text, got]).toEqual([path, text, expected])
          }
          expect(await found(root)).toEqual(shown(plain))
        } finally {
          await mount.close()
        }
      }),
      { numRuns: 20 },
    )
  }, 120_000)
})
