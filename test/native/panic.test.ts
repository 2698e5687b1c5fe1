import { describe, expect, it } from 'vitest'
import { addon } from '../../ts/native/load.ts'

describe('a panic inside the addon', () => {
  it('becomes an exception, and the addon goes on', () => {
    const { debugPanic, NativeMemory } = addon()
    for (let i = 0; i < 3; i++) expect(() => debugPanic(`panic ${i}`)).toThrow(`panic ${i}`)
    const memory = NativeMemory.anonymous(4096n)
    expect(memory.readU32(0)).toBe(0)
    memory.close()
  })
})
