import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { needs } from '../needs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const built = existsSync(join(root, 'dist', 'index.js'))

function evaluate(type: 'commonjs' | 'module', code: string): string {
  const args = ['--no-warnings', `--input-type=${type}`, '--eval', code]
  return execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }).trim()
}

describe('the built package', () => {
  needs(built, 'it is not built: npm run build')
  const names = 'console.log(Object.keys(vfio).sort().join())'

  it.each(['vfio', 'vfio/uapi', 'vfio/2011'])('gives the same names by import and by require: %s', (path) => {
    const imported = evaluate('module', `import * as vfio from '${path}'; ${names}`)
    const required = evaluate('commonjs', `const vfio = require('${path}'); ${names}`)
    expect(imported.split(',')).not.toHaveLength(0)
    expect(required.split(',').filter((name) => name !== '__esModule')).toEqual(imported.split(','))
  })

  it('loads nothing native on import', () => {
    const code = `await import('vfio'); console.log(process.report.getReport().sharedObjects.filter((path) => path.endsWith('.node')).length)`
    expect(evaluate('module', code)).toBe('0')
  })
})

it('has no dependencies at run time', () => {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  expect({ ...dependencies, ...optionalDependencies }).toEqual({})
})
