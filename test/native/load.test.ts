import { describe, expect, it } from 'vitest'
import { addon, load } from '../../ts/native/load.ts'
import { target } from '../../ts/native/target.ts'

describe('the loader', () => {
  it('says what it looked for, what it tried, what it heard, and what to do', () => {
    const asked: string[] = []
    const refusing = (id: string): never => {
      asked.push(id)
      throw new Error(`${id} is broken\nRequire stack: …`)
    }
    expect(() => load(refusing)).toThrow(
      expect.objectContaining({
        code: 'ERR_VFIO_ADDON',
        message: [
          `The native part of vfio does not load on ${target()} (Node ${process.version}). Tried:`,
          `  ../../native/vfio.${target()}.node: ../../native/vfio.${target()}.node is broken`,
          `  vfio-${target()}: vfio-${target()} is broken`,
          'In a clone, build it with "npm run build:native" (needs a Rust toolchain).',
          `As a dependency, reinstall without --omit=optional, so that npm fetches vfio-${target()}.`,
        ].join('\n'),
      }),
    )
    expect(asked).toEqual([`../../native/vfio.${target()}.node`, `vfio-${target()}`])
  })

  it('falls back to the package of the target', () => {
    const binding = { marked: true }
    const require = (id: string): unknown => {
      if (id.startsWith('vfio-')) return binding
      throw new Error('not here')
    }
    expect(load(require)).toEqual(binding)
  })

  it('bears with what is thrown that is no error', () => {
    const refusing = (): never => {
      throw null
    }
    expect(() => load(refusing)).toThrow('null')
  })

  it('loads once', () => {
    expect(addon()).toBe(addon())
    expect(addon().version).toMatch(/^\d+\.\d+\.\d+/)
  })
})
