/** A machine in this process. */
import type { SoftwareHost } from '../../index.ts'
import type { MachineTree } from './tree.ts'

/** The tree of a software host. */
export class SoftwareTree implements MachineTree {
  readonly place = 'this process'
  readonly #host: SoftwareHost

  constructor(host: SoftwareHost) {
    this.#host = host
  }

  async list(path: string): Promise<string[]> {
    return this.#host.sysfs.list(path)
  }

  async read(path: string): Promise<string> {
    return this.#host.sysfs.read(path)
  }

  async write(path: string, text: string): Promise<void> {
    this.#host.sysfs.write(path, text)
  }

  async realpath(path: string): Promise<string> {
    return this.#host.sysfs.resolve(path)
  }
}
