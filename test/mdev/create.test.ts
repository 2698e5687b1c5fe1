/** Making mediated devices, in the typed form and by writing to `create`. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VfioError } from '../../ts/errors.ts'
import { outcome } from '../outcome.ts'
import { machine, mttyMachine, OTHER, TYPES, UUID } from './machine.ts'

const code = (name: string) => expect.objectContaining({ code: name })

describe('create', () => {
  it('makes a device that shows up everywhere', () => {
    using host = mttyMachine()
    const mdev = host.mdev.create('mtty-2', UUID)
    expect(mdev).toMatchObject({ uuid: UUID, state: 'active', path: `/sys/devices/virtual/mtty/mtty/${UUID}` })
    expect(host.mdev.get(UUID)).toBe(mdev)
    expect(host.mdev.devices).toEqual([mdev])
    expect(mdev.type.devices).toEqual([mdev])
    expect(host.sysfs.list('/sys/bus/mdev/devices')).toEqual([UUID])
    expect(host.sysfs.list(`${TYPES}/mtty-2/devices`)).toEqual([UUID])
    expect(mdev.group?.devices).toHaveLength(1)
  })

  it('takes a random UUID where none is given', () => {
    using host = mttyMachine()
    expect(host.mdev.create('mtty-1').uuid).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('takes a type object as well as an id', () => {
    using host = mttyMachine()
    const type = host.parent.type('1')
    expect(type?.id).toBe('mtty-1')
    expect(host.mdev.create(type ?? 'mtty-1').type).toBe(type)
  })

  it('names the types on offer where there is no such one', () => {
    using host = mttyMachine()
    expect(() => host.mdev.create('mtty-3')).toThrow(/ENOENT.*types on offer: mtty-1, mtty-2/)
  })

  it('refuses what is no UUID and folds one to lower case', () => {
    using host = mttyMachine()
    for (const text of ['', 'x', `${UUID} `, `{${UUID}}`, UUID.replaceAll('-', '_')]) {
      expect(() => host.mdev.create('mtty-1', text)).toThrow(code('EINVAL'))
    }
    expect(host.mdev.create('mtty-1', UUID.toUpperCase()).uuid).toBe(UUID)
    expect(host.mdev.get(UUID.toUpperCase())?.uuid).toBe(UUID)
  })

  it('refuses arguments of the wrong shape', () => {
    using host = mttyMachine()
    expect(() => host.mdev.create(1 as never)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }))
    expect(() => host.mdev.create('mtty-1', 1 as never)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }),
    )
  })

  it('refuses a UUID in use, whichever parent has it', () => {
    using host = mttyMachine()
    host.mdev.registerParent('other', { types: [{ name: 'a' }], probe: () => ({ name: 'a', ...EMPTY }) })
    host.mdev.create('mtty-1', UUID)
    expect(() => host.mdev.create('mtty-2', UUID)).toThrow(code('EEXIST'))
    expect(() => host.mdev.create('other-a', UUID)).toThrow(code('EEXIST'))
  })

  it('shares the ports among the types', () => {
    using host = mttyMachine()
    for (let i = 0; i < 11; i++) host.mdev.create('mtty-2')
    host.mdev.create('mtty-1')
    expect(host.sysfs.read(`${TYPES}/mtty-1/available_instances`)).toBe('1\n')
    expect(host.sysfs.read(`${TYPES}/mtty-2/available_instances`)).toBe('0\n')
    expect(() => host.mdev.create('mtty-2')).toThrow(code('ENOSPC'))
    host.mdev.create('mtty-1')
    expect(() => host.mdev.create('mtty-1')).toThrow(code('ENOSPC'))
  })

  it('leaves nothing behind where the driver refuses', () => {
    using host = machine()
    const refusal = new VfioError('ENOMEM', 'probe')
    const parent = host.mdev.registerParent('p', {
      types: [{ name: 'a', instances: 1 }],
      probe: () => {
        throw refusal
      },
    })
    expect(() => host.mdev.create('p-a', UUID)).toThrow(refusal)
    expect(parent.devices).toEqual([])
    expect(parent.types[0]?.available).toBe(1)
    expect(host.sysfs.list('/sys/bus/mdev/devices')).toEqual([])
    expect(host.sysfs.exists(`${parent.path}/${UUID}`)).toBe(false)
    expect(host.registry.groups).toEqual([])
  })

  it('undoes a probe whose init refuses', () => {
    using host = machine()
    const removed: string[] = []
    host.mdev.registerParent('p', {
      types: [{ name: 'a' }],
      probe: () => ({
        name: 'a',
        ...EMPTY,
        init: () => {
          throw new VfioError('ENOSPC', 'init')
        },
      }),
      remove: (mdev) => removed.push(mdev.uuid),
    })
    expect(() => host.mdev.create('p-a', UUID)).toThrow(code('ENOSPC'))
    expect(removed).toEqual([UUID])
    expect(host.mdev.devices).toEqual([])
  })

  it('counts instances by type and by parent where the driver does not', () => {
    using host = machine()
    const parent = host.mdev.registerParent('p', {
      types: [{ name: 'a', instances: 1 }, { name: 'b' }],
      maxInstances: 2,
      probe: () => ({ name: 'a', ...EMPTY }),
    })
    const available = () => parent.types.map((type) => type.available)
    expect(available()).toEqual([1, 2])
    host.mdev.create('p-a')
    expect(available()).toEqual([0, 1])
    expect(() => host.mdev.create('p-a')).toThrow(code('EUSERS'))
    host.mdev.create('p-b')
    expect(() => host.mdev.create('p-b')).toThrow(code('EUSERS'))
  })

  it('refuses a probe that gives no callbacks', () => {
    using host = machine()
    host.mdev.registerParent('p', { types: [{ name: 'a' }], probe: () => undefined as never })
    expect(() => host.mdev.create('p-a')).toThrow(TypeError)
    expect(host.mdev.devices).toEqual([])
  })
})

describe('the attribute create', () => {
  const write = (text: string) => {
    using host = mttyMachine()
    const bytes = host.sysfs.write(`${TYPES}/mtty-1/create`, text)
    return { bytes, uuids: host.mdev.devices.map((mdev) => mdev.uuid) }
  }

  it('reads the first 36 of 36 or 37 bytes', () => {
    expect(write(UUID)).toEqual({ bytes: 36, uuids: [UUID] })
    for (const last of ['\n', ' ', '1', '\0']) expect(write(UUID + last)).toEqual({ bytes: 37, uuids: [UUID] })
    expect(write(UUID.toUpperCase()).uuids).toEqual([UUID])
  })

  it('refuses other lengths and forms', () => {
    for (const text of [
      UUID.slice(1),
      `${UUID}\n\n`,
      `${UUID}é`,
      `\ufeff${UUID}`,
      `{${UUID}}`,
      '\n',
      UUID.replace('8', 'g'),
    ]) {
      expect(() => write(text), JSON.stringify(text)).toThrow(code('EINVAL'))
    }
  })

  it('answers duplicates and exhaustion as the typed form does', () => {
    using host = mttyMachine()
    host.sysfs.write(`${TYPES}/mtty-1/create`, UUID)
    expect(() => host.sysfs.write(`${TYPES}/mtty-2/create`, UUID.toUpperCase())).toThrow(code('EEXIST'))
    for (let i = 0; i < 23; i++) host.mdev.create('mtty-1')
    expect(() => host.sysfs.write(`${TYPES}/mtty-1/create`, OTHER)).toThrow(code('ENOSPC'))
  })

  it('makes a device of whatever has a UUID in front, and of nothing else', () => {
    const hex = fc.constantFrom(...'0123456789abcdefABCDEF')
    const part = (n: number) => fc.string({ unit: hex, minLength: n, maxLength: n })
    const uuid = fc.tuple(part(8), part(4), part(4), part(4), part(12)).map((parts) => parts.join('-'))
    fc.assert(
      fc.property(uuid, fc.string({ maxLength: 2, unit: 'binary-ascii' }), (text, tail) => {
        using host = mttyMachine()
        const path = `${TYPES}/mtty-1/create`
        const bytes = outcome(() => host.sysfs.write(path, text + tail))
        expect(bytes).toBe(tail.length > 1 ? 'EINVAL' : 36 + tail.length)
        expect(host.mdev.devices.map((mdev) => mdev.uuid)).toEqual(tail.length > 1 ? [] : [text.toLowerCase()])
      }),
    )
  })
})

const EMPTY = {
  getInfo: () => ({ flags: 0, numRegions: 0, numIrqs: 0 }),
  getRegionInfo: (): never => {
    throw new VfioError('EINVAL', 'info')
  },
  getIrqInfo: (): never => {
    throw new VfioError('EINVAL', 'info')
  },
  setIrqs: () => {},
}
