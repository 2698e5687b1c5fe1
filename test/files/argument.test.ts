import { describe, expect, it } from 'vitest'
import { ioctlArgument, readS32, readString } from '../../ts/files/argument.ts'
import { HostMemory } from '../../ts/memory/host-memory.ts'
import { errnoOf, TestProcess } from '../parts/machine.ts'

describe('an ioctl argument', () => {
  it('is user memory behind an address', () => {
    const process = new TestProcess()
    using memory = HostMemory.allocate(4096)
    const address = process.place(memory)
    const argument = ioctlArgument(address + 8n, process.mm)
    argument.write(Uint8Array.of(1, 2, 3))
    expect(memory.read(8, 3)).toEqual(Uint8Array.of(1, 2, 3))
    expect(argument.read(2, 1)).toEqual(Uint8Array.of(2, 3))
    expect(errnoOf(() => argument.read(4096))).toBe('EFAULT')
    expect(errnoOf(() => argument.write(new Uint8Array(1), 4088))).toBe('EFAULT')
  })

  it('is EFAULT where nothing lies', () => {
    const { mm } = new TestProcess()
    for (const address of [0, 0n, -1, 0xffff_ffff_ffff_ffffn, 0x8000_0000_0000n, 3]) {
      expect(errnoOf(() => ioctlArgument(address, mm).read(4))).toBe('EFAULT')
      expect(errnoOf(() => ioctlArgument(address, mm).write(new Uint8Array(4)))).toBe('EFAULT')
    }
  })

  it('is bytes that stand for user memory', () => {
    const bytes = new Uint8Array(8)
    const argument = ioctlArgument(bytes, new TestProcess().mm)
    argument.write(Int32Array.of(-2).length === 1 ? new Uint8Array(Int32Array.of(-2).buffer) : bytes, 4)
    expect(readS32(argument, 4)).toBe(-2)
    expect(errnoOf(() => argument.read(9))).toBe('EFAULT')
    expect(errnoOf(() => argument.write(new Uint8Array(5), 4))).toBe('EFAULT')
    expect(bytes).toEqual(Uint8Array.of(0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff))
  })

  it('is a string with its end', () => {
    const { mm } = new TestProcess()
    expect(readString(ioctlArgument('0000:00:04.0', mm), 4096)).toBe('0000:00:04.0')
    expect(readString(ioctlArgument('', mm), 4096)).toBe('')
    expect(readString(ioctlArgument('x'.repeat(4095), mm), 4096)).toHaveLength(4095)
    expect(errnoOf(() => readString(ioctlArgument('x'.repeat(4096), mm), 4096))).toBe('EINVAL')
    expect(errnoOf(() => readString(ioctlArgument(Uint8Array.of(65, 66), mm), 4096))).toBe('EFAULT')
  })

  it('reads a string up to the last byte that is there', () => {
    const process = new TestProcess()
    using memory = HostMemory.allocate(4096)
    const address = process.place(memory)
    memory.write(4093, Uint8Array.of(65, 66, 0))
    expect(readString(ioctlArgument(address + 4093n, process.mm), 4096)).toBe('AB')
  })

  it('is nothing else', () => {
    const { mm } = new TestProcess()
    for (const wrong of [undefined, null, {}, 1.5, Number.NaN])
      expect(() => ioctlArgument(wrong as never, mm)).toThrow(TypeError)
  })
})
