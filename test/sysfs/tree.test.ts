import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SysfsTree } from '../../ts/sysfs/tree.ts'
import { isErrno } from '../../ts/errors.ts'
import { q35 } from '../pci/machines.ts'

const errno = (code: string) => expect.objectContaining({ code })

function tree(): SysfsTree {
  const sysfs = new SysfsTree()
  let value = 'a\n'
  sysfs.attr('/sys/devices/one/value', { mode: 0o644, show: () => value, store: (text) => void (value = text) })
  sysfs.attr('/sys/devices/one/secret', { mode: 0o200, store: () => {} })
  sysfs.attr('/sys/devices/one/mute', { mode: 0o644 })
  sysfs.link('/sys/bus/one', '/sys/devices/one')
  sysfs.link('/sys/loop', '/sys/loop')
  return sysfs
}

describe('SysfsTree', () => {
  it('reads and writes through links', () => {
    const sysfs = tree()
    expect(sysfs.write('/sys/bus/one/value', 'b\n')).toBe(2)
    expect(sysfs.read('/sys/devices/one/value')).toBe('b\n')
    expect(sysfs.resolve('/sys/bus/one/value')).toBe('/sys/devices/one/value')
    expect(sysfs.readlink('/sys/bus/one')).toBe('../devices/one')
    expect(sysfs.list('/sys/bus/one/')).toEqual(['mute', 'secret', 'value'])
    expect(sysfs.read('/sys/bus/one/../one/./value')).toBe('b\n')
  })

  it('refuses as a file system does', () => {
    const sysfs = tree()
    expect(() => sysfs.read('/sys/none')).toThrow(errno('ENOENT'))
    expect(() => sysfs.read('/sys/devices/one')).toThrow(errno('EISDIR'))
    expect(() => sysfs.write('/sys/devices/one', '')).toThrow(errno('EISDIR'))
    expect(() => sysfs.read('/sys/devices/one/secret')).toThrow(errno('EACCES'))
    expect(() => sysfs.read('/sys/devices/one/mute')).toThrow(errno('EIO'))
    expect(() => sysfs.write('/sys/devices/one/mute', 'x')).toThrow(errno('EIO'))
    expect(() => sysfs.list('/sys/devices/one/value')).toThrow(errno('ENOTDIR'))
    expect(() => sysfs.read('/sys/devices/one/value/more')).toThrow(errno('ENOTDIR'))
    expect(() => sysfs.read('/sys/devices/one/value/')).toThrow(errno('ENOTDIR'))
    expect(() => sysfs.read('/sys/loop')).toThrow(errno('ELOOP'))
    expect(() => sysfs.readlink('/sys/devices')).toThrow(errno('EINVAL'))
    expect(() => sysfs.dir('/sys/devices/one/value/x')).toThrow(errno('ENOTDIR'))
  })

  it('takes a page at most', () => {
    const sysfs = tree()
    expect(sysfs.write('/sys/devices/one/value', 'x'.repeat(5000))).toBe(4096)
    expect(sysfs.read('/sys/devices/one/value')).toHaveLength(4096)
  })

  it('tells modes and removes', () => {
    const sysfs = tree()
    expect(sysfs.stat('/sys/bus/one/secret').mode).toBe(0o100200)
    expect(sysfs.stat('/sys/bus/one').mode).toBe(0o040755)
    expect(sysfs.lstat('/sys/bus/one').mode).toBe(0o120777)
    sysfs.remove('/sys/bus/one')
    expect(sysfs.exists('/sys/devices/one/value')).toBe(true)
    sysfs.remove('/sys/devices')
    expect(sysfs.list('/sys')).toEqual(['bus', 'loop'])
    sysfs.remove('/sys/nothing/at/all')
  })

  it('draws itself', () => {
    expect(tree().render('/sys/devices')).toBe(
      ['/sys/devices', '└── one', '    ├── mute', '    ├── secret', '    └── value: a', ''].join('\n'),
    )
    expect(tree().render('/sys', { depth: 1 })).toContain('└── loop -> loop')
  })
})

describe('every attribute of a machine', () => {
  const paths = (() => {
    const { sysfs } = q35()
    const found: string[] = []
    const walk = (path: string) => {
      for (const name of sysfs.list(path)) {
        const child = `${path}/${name}`
        const { kind } = sysfs.node(child)
        if (kind === 'directory') walk(child)
        else if (kind !== 'link') found.push(child)
      }
    }
    walk('/sys')
    return found
  })()

  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.uint8Array(),
    fc.constantFrom(
      '0',
      '1',
      '\n',
      '\0',
      '-1',
      '0x1',
      '1234 11e8',
      '0000:00:04.0',
      'vfio-pci',
      '9'.repeat(40),
      'x'.repeat(9000),
    ),
  )

  it('answers any write with bytes or an errno, and the tree stays whole', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...paths), hostile), { maxLength: 30 }), (writes) => {
        const { sysfs, pci, groups } = q35()
        for (const [path, data] of writes) {
          try {
            expect(sysfs.write(path, data)).toBeGreaterThanOrEqual(0)
          } catch (error) {
            if (!isErrno(error)) throw error
          }
          try {
            sysfs.read(path)
          } catch (error) {
            if (!isErrno(error)) throw error
          }
        }
        pci.rescan()
        for (const device of pci.devices) {
          expect(device.group?.members).toContain(device)
          expect(sysfs.resolve(`/sys/bus/pci/devices/${device.name}`)).toBe(device.path)
          expect(sysfs.exists(`${device.path}/driver`)).toBe(device.driver !== undefined)
        }
        expect(pci.devices).toHaveLength(17)
        expect(groups.list().flatMap((group) => group.members)).toHaveLength(17)
        sysfs.render('/sys')
      }),
      { numRuns: 200 },
    )
  })
})
