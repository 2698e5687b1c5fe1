/**
 * What a program finds in `/dev` and `/sys`: the machine's, and beside it what the operating system has there.
 *
 * Both become file systems in memory of the program's own namespace, in which every entry is a mount of what it was, or of the
 * machine's. Directories that both have are merged down to where the machine's begin to mean something.
 */
import { lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs'
import type { NativeRunAction } from '../native/addon-run.ts'
import type { SysfsTree } from '../sysfs/tree.ts'

/** Where the machine's files lie while everything is put in its place. */
const MACHINE = '/dev/.vfio-machine'
/** Nodes that belong to the machine, whether it has them or not. */
const NODES = new Set(['vfio', 'iommu'])
/** Directories of which the machine has some entries and the operating system others. */
const MERGED = new Set([
  '/sys',
  '/sys/bus',
  '/sys/class',
  '/sys/devices',
  '/sys/devices/virtual',
  '/sys/kernel',
  '/sys/module',
])
/** What shows the operating system's IOMMUs to those who look for their kind. */
const HIDDEN = new Set(['/sys/kernel/debug', '/sys/kernel/iommu_groups', '/sys/class/iommu', '/sys/class/vfio'])

/** The steps that make the surroundings of a program on that machine. */
export function surroundings(sysfs: SysfsTree): NativeRunAction[] {
  const machine = `${MACHINE}/dev`
  return [
    { kind: 'empty', path: '/dev' },
    { kind: 'directory', path: MACHINE },
    { kind: 'machine', path: MACHINE },
    ...entries('/dev')
      .filter((name) => !NODES.has(name))
      .flatMap((name) => real(`/dev/${name}`)),
    { kind: 'directory', path: '/dev/vfio' },
    { kind: 'bind', path: '/dev/vfio', from: `${machine}/vfio` },
    { kind: 'file', path: '/dev/iommu' },
    { kind: 'bind', path: '/dev/iommu', from: `${machine}/iommu` },
    { kind: 'empty', path: '/sys' },
    ...merged(sysfs, '/sys'),
    { kind: 'remove', path: MACHINE },
  ]
}

function merged(sysfs: SysfsTree, directory: string): NativeRunAction[] {
  const ours = sysfs.exists(directory) ? sysfs.list(directory) : []
  const names = [...new Set([...ours, ...entries(directory)])]
  return names.flatMap((name): NativeRunAction[] => {
    const path = `${directory}/${name}`
    if (!ours.includes(name)) return HIDDEN.has(path) ? [] : real(path)
    if (MERGED.has(path)) return [{ kind: 'directory', path }, ...merged(sysfs, path)]
    return simulated(sysfs, path)
  })
}

function simulated(sysfs: SysfsTree, path: string): NativeRunAction[] {
  const { kind } = sysfs.node(path)
  if (kind === 'link') return [{ kind: 'link', path, from: sysfs.readlink(path) }]
  const place = kind === 'directory' ? 'directory' : 'file'
  return [
    { kind: place, path },
    { kind: 'bind', path, from: `${MACHINE}${path}` },
  ]
}

function real(path: string): NativeRunAction[] {
  const stat = lookAt(path)
  if (stat === undefined) return []
  if (stat.isSymbolicLink()) return [{ kind: 'link', path, from: readlinkSync(path) }]
  return [
    { kind: stat.isDirectory() ? 'directory' : 'file', path },
    { kind: 'bind', path, from: `@${path}` },
  ]
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return [] // it has no such directory
  }
}

function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path)
  } catch {
    return undefined // it has gone meanwhile
  }
}
