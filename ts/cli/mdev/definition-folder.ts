/** The folder of definitions, as mdevctl lays it out: `PARENT/UUID`. */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { VfioError } from '../../index.ts'
import { isUuid } from '../daemon/served.ts'
import { type Definition, definitionJson, parseDefinition } from './definition.ts'

/** A definition and whose it is. */
export interface DefinedDevice extends Definition {
  readonly uuid: string
  readonly parent: string
}

/** Which devices are meant. */
export interface DeviceFilter {
  readonly uuid?: string | undefined
  readonly parent?: string | undefined
}

/** Definitions in a folder. */
export class DefinitionFolder {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** Definitions, by parent and UUID. @throws {VfioError} EINVAL one of them is none */
  async list({ uuid, parent }: DeviceFilter = {}): Promise<DefinedDevice[]> {
    const parents = (await foldersIn(this.path)).filter((name) => parent === undefined || name === parent)
    const found: DefinedDevice[] = []
    for (const name of parents) {
      const uuids = (await readdir(join(this.path, name))).filter((file) => isUuid(file)).sort()
      for (const file of uuids.filter((one) => uuid === undefined || one === uuid)) {
        const path = join(this.path, name, file)
        found.push({ uuid: file, parent: name, ...parseDefinition(await readFile(path, 'utf8'), path) })
      }
    }
    return found
  }

  /** The one definition that is meant. @throws {VfioError} ENOENT there is none, EINVAL several parents have one */
  async one(uuid: string, parent?: string): Promise<DefinedDevice> {
    const [first, second] = await this.list({ uuid, parent })
    if (first === undefined) {
      throw new VfioError('ENOENT', 'definition', {
        reason: `${uuid} is not defined${parent === undefined ? '' : ` for ${parent}`} in ${this.path}`,
        remedy: 'vfio list --defined shows what is',
      })
    }
    if (second !== undefined) {
      throw new VfioError('EINVAL', 'definition', {
        reason: `${uuid} is defined for ${first.parent} and ${second.parent}`,
        remedy: 'say which with --parent',
      })
    }
    return first
  }

  /** Writes a definition, whole or not at all. @throws {VfioError} EINVAL the parent's name is no file name */
  async write(device: DefinedDevice): Promise<void> {
    const path = this.#pathOf(device)
    await mkdir(join(this.path, device.parent), { recursive: true })
    const draft = `${path}.${process.pid}`
    await writeFile(draft, JSON.stringify(definitionJson(device), null, 2))
    await rename(draft, path)
  }

  /** Removes a definition. */
  async remove(device: DefinedDevice): Promise<void> {
    await rm(this.#pathOf(device))
  }

  #pathOf({ uuid, parent }: DefinedDevice): string {
    if (/[/\0]/.test(parent) || parent === '' || parent === '.' || parent === '..') {
      throw new VfioError('EINVAL', 'definition', { reason: `'${parent}' is no name of a parent` })
    }
    return join(this.path, parent, uuid)
  }
}

async function foldersIn(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true })
    return entries
      .filter((entry) => entry.isDirectory() && entry.name !== 'scripts.d')
      .map(({ name }) => name)
      .sort()
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return []
    throw error
  }
}
