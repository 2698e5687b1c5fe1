import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadBinary } from '../../ts/native/binary.ts'
import { addon } from '../../ts/native/load.ts'
import { packageOf, target } from '../../ts/native/target.ts'
import { needsLinux } from '../needs.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const name = target()
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
/** The package of the target that most systems are not. */
const foreign = 'win32-arm64-msvc'

let folder = ''
/** The module that looks for the addon, in a package of its own. */
const from = (): string => pathToFileURL(join(folder, 'node_modules/vfio/dist/native/binary.js')).href
const platformPackage = (which = name): string => join(folder, 'node_modules', packageOf(which))
const file = (which = name): string => join(platformPackage(which), `vfio.${which}.node`)

/** Puts a package with a binary beside the package. */
function install(content?: string, which = name): void {
  mkdirSync(platformPackage(which), { recursive: true })
  writeFileSync(join(platformPackage(which), 'package.json'), JSON.stringify({ main: `vfio.${which}.node` }))
  if (content === undefined) copyFileSync(join(root, 'native', `vfio.${name}.node`), file(which))
  else writeFileSync(file(which), content)
}

/** What the loader says. */
function refusal(which = name): string {
  try {
    loadBinary(from(), which)
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_VFIO_ADDON' })
    return (error as Error).message
  }
  throw new Error('it loads')
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-load-'))
  mkdirSync(dirname(fileURLToPath(from())), { recursive: true })
  writeFileSync(join(folder, 'node_modules/vfio/package.json'), JSON.stringify({ name: 'vfio', version }))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('the loader', () => {
  it('finds the package of the target beside its own', () => {
    install()
    expect(loadBinary(from()).addonVersion()).toBe(version)
  })

  it('says what it looked for, where, and how it gets there', () => {
    expect(refusal()).toBe(
      [
        `The native part of vfio does not load on ${name} (Node ${process.version}). Tried:`,
        `  ${join(folder, `node_modules/vfio/native/vfio.${name}.node`)}: not there`,
        `  ${packageOf(name)}: not there`,
        `It comes with the optional dependency ${packageOf(name)}@${version}: "npm install --include=optional ${packageOf(name)}@${version}" adds it.`,
        'Where node_modules or package-lock.json came from another system, remove both and run "npm install" here.',
      ].join('\n'),
    )
  })

  it('says how to build it in a clone', () => {
    writeFileSync(join(folder, 'node_modules/vfio/Cargo.toml'), '')
    expect(refusal()).toMatch(/\nIn this clone, "npm run build:native" builds it \(needs a Rust toolchain\)\.$/)
  })

  it('says for which systems there are binaries', () => {
    expect(refusal('sunos-x64')).toMatch(
      /\nThere is no binary for sunos-x64, only for linux-x64-gnu, .* a clone builds/,
    )
  })

  it('repeats the words of the system about a file that is no library', () => {
    install('a text')
    const message = refusal()
    expect(message).toContain(`  ${packageOf(name)}: ${file()}: `)
    expect(message).toMatch(/file too short|invalid ELF header|not a mach-o|not a valid Win32/)
    expect(message).toMatch(/\nIf the file is damaged, remove node_modules/)
  })

  it('takes no binary of another version', () => {
    writeFileSync(join(folder, 'node_modules/vfio/package.json'), JSON.stringify({ name: 'vfio', version: '99.0.0' }))
    install()
    expect(refusal()).toMatch(
      new RegExp(
        `it is version ${version}, and this is vfio 99\\.0\\.0\\nInstall the two in one version: "npm install vfio@99`,
      ),
    )
  })

  it('survives a package without its file', () => {
    install()
    rmSync(file())
    expect(refusal()).toMatch(/Cannot find module|not there/)
  })

  it('loads once', () => {
    expect(addon()).toBe(addon())
    expect(addon().version).toMatch(/^\d+\.\d+\.\d+/)
  })
})

describe('the loader looks at a file before the system maps it', () => {
  needsLinux('ELF files')

  it.each([0.1, 0.5, 0.99])('that was cut to a part of its length: %f', (part) => {
    install()
    const whole = readFileSync(file()).byteLength
    truncateSync(file(), Math.floor(whole * part))
    const message = refusal()
    expect(message).toMatch(new RegExp(`the file is cut short: \\d+ of ${whole} bytes are there`))
    expect(message).toContain(`\nInstall it anew: remove node_modules/${packageOf(name)}, then "npm install --force `)
  })

  it('that is for another processor', () => {
    install()
    const bytes = readFileSync(file())
    bytes.writeUInt16LE(process.arch === 'x64' ? 183 : 62, 18)
    writeFileSync(file(), bytes)
    expect(refusal()).toMatch(
      /it is for (arm64|x64), and this process is (x64|arm64)\nnode_modules came from another system/,
    )
  })

  it('but leaves to the system what is none of its own', () => {
    install('MZ', foreign)
    expect(refusal(foreign)).toContain(file(foreign))
  })
})
