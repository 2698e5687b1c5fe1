/** What is in the tarballs, and what the binaries in them need. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
// @ts-expect-error: a script without types
import { compareVersions, readElf } from '../../scripts/elf.mjs'
// @ts-expect-error: a script without types
import { addonName, GLIBC_FLOOR as BUILT_FLOOR, packageName, TARGETS } from '../../scripts/targets.mjs'
import { GLIBC_FLOOR, packageOf, PREBUILT, target } from '../../ts/native/target.ts'
import { needs } from '../needs.ts'
import { packed, tarballOf, whyNotPacked } from './tarballs.ts'

interface Manifest {
  version: string
  dependencies?: object
  optionalDependencies?: Record<string, string>
  scripts?: object
  os: string[]
  cpu: string[]
  libc?: string[]
  main: string
}

describe('the table of targets', () => {
  it('is what the loader tells', () => {
    expect(PREBUILT).toEqual(Object.keys(TARGETS as object))
    expect(PREBUILT.map(packageOf)).toEqual(PREBUILT.map(packageName as (name: string) => string))
    expect(GLIBC_FLOOR).toBe(BUILT_FLOOR)
  })
})

describe('the tarballs', () => {
  needs(packed, whyNotPacked)
  let folder = ''
  const unpacked = (name: string): string => join(folder, name)
  const manifestOf = (name: string): Manifest =>
    JSON.parse(readFileSync(join(unpacked(name), 'package', 'package.json'), 'utf8')) as Manifest
  const there = PREBUILT.filter((name) => existsSync(tarballOf(packageOf(name))))

  beforeAll(() => {
    if (!packed) return
    folder = mkdtempSync(join(tmpdir(), 'vfio-contents-'))
    for (const name of ['vfio', ...there]) {
      execFileSync('mkdir', ['-p', unpacked(name)])
      execFileSync('tar', ['-xzf', tarballOf(name === 'vfio' ? name : packageOf(name)), '-C', unpacked(name)])
    }
  }, 60_000)

  afterAll(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  it('are the facade, and a package for this system among others', () => {
    const { dependencies, optionalDependencies, scripts, version } = manifestOf('vfio')
    expect(dependencies).toBeUndefined()
    expect(scripts).toBeUndefined()
    expect(manifestOf('vfio')).not.toHaveProperty('private')
    expect(optionalDependencies).toEqual(Object.fromEntries(there.map((name) => [packageOf(name), version])))
    expect(there).toContain(target())
  })

  it('have no sources, tests or binaries where none belong', () => {
    const files = readdirSync(join(unpacked('vfio'), 'package'), { recursive: true, encoding: 'utf8' })
    expect(files.filter((file) => /\.node$|\.rs$|\.test\.|tsbuildinfo/.test(file))).toEqual([])
    for (const file of [
      'dist/index.js',
      'dist/index.d.ts',
      'dist/cli/main.js',
      'examples/driver.ts',
      'docs/machines.md',
    ]) {
      expect(files).toContain(file)
    }
  })

  it('have a README whose links lead to files in them', () => {
    const text = readFileSync(join(unpacked('vfio'), 'package', 'README.md'), 'utf8')
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, path = '']) => path)
    expect(links.length).toBeGreaterThan(10)
    expect(links.filter((path) => !existsSync(join(unpacked('vfio'), 'package', path)))).toEqual([])
  })

  it('map to sources that are inside', () => {
    const dist = join(unpacked('vfio'), 'package', 'dist')
    const map = JSON.parse(readFileSync(join(dist, 'index.js.map'), 'utf8')) as { sourcesContent?: string[] }
    expect(map.sourcesContent?.[0]).toContain('export')
    expect(dirname(dist)).toContain('package')
  })

  it.each(PREBUILT)('of %s say where they fit, and need no newer C library than they promise', (name) => {
    if (!there.includes(name)) return
    const [os, cpu, libc] = name.split('-')
    const manifest = manifestOf(name)
    expect([manifest.os, manifest.cpu, manifest.main]).toEqual([
      [os],
      [cpu],
      (addonName as (n: string) => string)(name),
    ])
    if (os !== 'linux') return
    expect(manifest.libc).toEqual([libc === 'gnu' ? 'glibc' : 'musl'])
    const binary = join(unpacked(name), 'package', manifest.main)
    const { machine, versions } = (
      readElf as (path: string) => { machine: number; versions: Record<string, string[]> }
    )(binary)
    expect(machine).toBe(cpu === 'arm64' ? 183 : 62)
    const needed = Object.values(versions).flat()
    expect(needed.filter((version) => !/^GLIBC_\d/.test(version))).toEqual([])
    const newer = needed.filter(
      (version) =>
        (compareVersions as (a: string, b: string) => number)(version.slice('GLIBC_'.length), GLIBC_FLOOR) > 0,
    )
    expect(libc === 'musl' ? needed : newer).toEqual([])
  })
})
