/** The types of the tarballs in a user's project, and the programs of README and examples compiled there. */
import { cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fetched } from './node-versions.ts'
import { isOutput, modulesOf } from '../docs/code-blocks.ts'
import { needs } from '../needs.ts'
import { packed, Project, root, tarballs, whyNotPacked } from './tarballs.ts'

/** As the README says. */
const OLDEST_TYPESCRIPT = '5.8.3'
const OPTIONS = {
  target: 'ES2022',
  lib: ['ES2023', 'ESNext.Disposable'],
  strict: true,
  skipLibCheck: false,
  types: ['node'],
  typeRoots: [join(root, 'node_modules', '@types')],
}
const CONSUMER = `import { SoftwareHost, type Container } from 'vfio'
import { VFIO_API_VERSION } from 'vfio/uapi'
export const version: 0 = VFIO_API_VERSION
export function open(): Container {
  return new SoftwareHost().openContainer()
}
// @ts-expect-error: there is no such option
new SoftwareHost({ nonsense: true })
`

describe('the types', () => {
  needs(packed, whyNotPacked)
  let project: Project
  let compilers: Record<string, string> = {}
  const tsc = (options: object, files: readonly string[], compiler = compilers['newest'] ?? ''): void => {
    writeFileSync(project.path('tsconfig.json'), JSON.stringify({ compilerOptions: { ...OPTIONS, ...options }, files }))
    project.run(join(compiler, 'bin', 'tsc'), '-p', '.')
  }

  beforeAll(() => {
    if (!packed) return
    project = new Project(process.execPath)
    project.install(tarballs)
    compilers = { newest: join(root, 'node_modules', 'typescript'), oldest: fetched('typescript', OLDEST_TYPESCRIPT) }
  }, 120_000)

  afterAll(() => {
    if (packed) project.remove()
  })

  describe.each(['newest', 'oldest'])('resolve with the %s TypeScript', (compiler) => {
    it.each([
      ['consumer.ts', { module: 'NodeNext', noEmit: true }],
      ['consumer.mts', { module: 'NodeNext', noEmit: true }],
      ['consumer.cts', { module: 'NodeNext', noEmit: true }],
      ['consumer.ts', { module: 'ESNext', moduleResolution: 'bundler', noEmit: true }],
    ])('%s: %o', { timeout: 60_000 }, (file, options) => {
      writeFileSync(project.path(file), CONSUMER)
      expect(() => tsc(options, [file], compilers[compiler])).not.toThrow()
    })
  })

  it('fit the program of the README, which prints what is shown', { timeout: 60_000 }, () => {
    const program = modulesOf(join(root, 'README.md')).find(({ name }) => name === 'first.ts')
    writeFileSync(project.path('first.ts'), program?.code ?? '')
    tsc({ module: 'NodeNext' }, ['first.ts'])
    expect(isOutput(project.run('first.js'), program?.output ?? '')).toBe(true)
  })

  it('fit the examples, which can be copied', { timeout: 60_000 }, () => {
    const examples = project.path('node_modules', 'vfio', 'examples')
    const sources = readdirSync(examples).filter((file) => file.endsWith('.ts'))
    for (const file of sources) cpSync(join(examples, file), project.path(file))
    tsc({ module: 'NodeNext', noUncheckedIndexedAccess: true, exactOptionalPropertyTypes: true }, sources)
    expect(project.run('driver.js')).toContain('10! is 3628800')
  })
})
