/** What the README and the guides show passes the compiler, runs, and prints what they say; what they link to is there. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format } from 'node:util'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { isOutput, modulesOf } from './code-blocks.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(root, 'build', 'documented')

const documents = [
  ...['README.md', 'CHANGELOG.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md'],
  ...readdirSync(join(root, 'docs'), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.name.endsWith('.md') && !/node_modules|docs\/api/.test(entry.parentPath))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length)),
]
const modules = documents.flatMap((document) =>
  modulesOf(join(root, document)).map((module) => ({
    ...module,
    document,
    path: join(folder, document.replace(/\.md$/, '').replaceAll('/', '-'), module.name),
  })),
)

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true })
  for (const { path, code } of modules) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, `${code}export {}\n`)
  }
  const options = {
    extends: join(root, 'tsconfig.base.json'),
    compilerOptions: {
      noEmit: true,
      skipLibCheck: true,
      noUnusedLocals: false,
      noUnusedParameters: false,
      rootDir: root,
      typeRoots: [join(root, 'node_modules', '@types')],
      paths: {
        vfio: [join(root, 'ts/index.ts')],
        'vfio/uapi': [join(root, 'ts/uapi/index.ts')],
        'vfio/2011': [join(root, 'ts/vfio2011/index.ts')],
      },
    },
    include: ['**/*.ts'],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(options))
})

afterEach(() => {
  vi.restoreAllMocks()
})

it('the compiler takes every block', { timeout: 120_000 }, () => {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const done = spawnSync(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], { encoding: 'utf8' })
  // Other sources are checked elsewhere.
  const errors = done.stdout.split('\n').filter((line) => line.includes('build/documented/'))
  expect(errors).toEqual([])
})

it('finds programs to run', () => {
  expect(modules.filter(({ run }) => run).length).toBeGreaterThan(10)
})

describe('runs to its end', () => {
  it.each(modules.filter(({ run }) => run).map((module) => [module.document, module.name, module] as const))(
    '%s: %s',
    async (_document, _name, { path, output }) => {
      const lines: string[] = []
      const keep = (...args: unknown[]): void => void lines.push(format(...args))
      vi.spyOn(console, 'log').mockImplementation(keep)
      vi.spyOn(console, 'error').mockImplementation(keep)
      await import(/* @vite-ignore */ path)
      const printed = lines.join('\n')
      const shown = (output ?? '…').trim()
      expect(isOutput(printed, shown) ? shown : printed.trim()).toBe(shown)
    },
  )
})

describe('leads somewhere', () => {
  it.each(documents)('%s', (document) => {
    const text = readFileSync(join(root, document), 'utf8')
    const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g)]
    const broken = links.filter(([, path, anchor]) => {
      const target = path === '' ? join(root, document) : join(root, dirname(document), path ?? '')
      return !existsSync(target) || (anchor !== undefined && !anchorsOf(target).has(anchor))
    })
    expect(broken.map(([link]) => link)).toEqual([])
  })

  it('names no command that package.json lacks', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: object }
    const named = documents.flatMap((document) =>
      [...readFileSync(join(root, document), 'utf8').matchAll(/npm run (?:-s )?([a-z:]+)/g)].map(([, name]) => name),
    )
    expect(named.filter((name) => !Object.hasOwn(scripts, name ?? ''))).toEqual([])
  })
})

/** The anchors that headings make. */
function anchorsOf(path: string): Set<string> {
  const headings = [...readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm)]
  return new Set(
    headings.map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}
