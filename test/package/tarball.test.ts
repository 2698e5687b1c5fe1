/** The package as a stranger gets it: packed, installed into an empty folder, used as the README says. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isOutput, modulesOf } from '../docs/code-blocks.ts'
import { needs } from '../needs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const built = existsSync(join(root, 'dist', 'index.js')) && existsSync(join(root, 'native'))
const program = modulesOf(join(root, 'README.md')).find(({ name }) => name === 'first.ts')
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'

describe('the packed package', () => {
  needs(built, 'it is not built: npm run build')
  let folder = ''
  const run = (file: string, ...args: string[]): string =>
    execFileSync(file, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

  beforeAll(() => {
    if (!built) return
    folder = mkdtempSync(join(tmpdir(), 'vfio-package-'))
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
    execFileSync(npm, ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: root })
    const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? ''
    run(npm, 'install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', '--silent', join(folder, tarball))
  }, 120_000)

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it('has what it needs, and no sources or tests', () => {
    const files = readdirSync(join(folder, 'node_modules', 'vfio'))
    expect(files.toSorted()).toEqual([
      'CHANGELOG.md',
      'LICENSE-APACHE',
      'LICENSE-MIT',
      'README.md',
      'dist',
      'native',
      'package.json',
    ])
    expect(readdirSync(join(folder, 'node_modules'))).toEqual(expect.not.arrayContaining(['typescript', 'vitest']))
  })

  it('compiles and runs the program of the README', { timeout: 120_000 }, () => {
    writeFileSync(join(folder, 'first.ts'), program?.code ?? '')
    const options = {
      target: 'ES2022',
      lib: ['ES2023', 'ESNext.Disposable'],
      module: 'NodeNext',
      strict: true,
      skipLibCheck: false,
      types: ['node'],
      typeRoots: [join(root, 'node_modules', '@types')],
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['first.ts'] }))
    run(process.execPath, join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.')
    const output = run(process.execPath, 'first.js')
    expect(isOutput(output, program?.output ?? '')).toBe(true)
  })

  it('can be required, and brings its command along', () => {
    expect(run(process.execPath, '--no-warnings', '-p', 'typeof require("vfio").SoftwareHost')).toContain('function')
    expect(run(process.execPath, join(folder, 'node_modules', 'vfio', 'dist', 'cli', 'main.js'), 'help')).toContain(
      'serve',
    )
  })
})
