/** Which machine a command looks at: `--root`, else the host that runs. */
import { join } from 'node:path'
import { homedir } from 'node:os'
import { type Call, UsageError } from '../command.ts'
import { HostClient } from '../daemon/client.ts'
import { socketPath } from '../daemon/socket-path.ts'
import { FolderTree } from './folder-tree.ts'
import type { MachineTree } from './tree.ts'

/** A machine and where its definitions of mediated devices are. */
export interface Machine extends Disposable {
  readonly tree: MachineTree
  readonly definitions: string
}

/** Opens the machine of a call. @throws {UsageError} two were named @throws {NoHostError} no host runs */
export async function openMachine(call: Call): Promise<Machine> {
  const root = call.text('root')
  const definitions = call.text('config')
  if (root !== undefined) {
    if (call.text('host') !== undefined) throw new UsageError('--root and --host name two machines')
    return {
      tree: new FolderTree(root),
      definitions: definitions ?? join(root, 'etc', 'mdevctl.d'),
      [Symbol.dispose]() {},
    }
  }
  const client = await HostClient.connect(socketPath(call.text('host')))
  return {
    tree: client,
    definitions: definitions ?? userDefinitions(),
    [Symbol.dispose]: () => client.close(),
  }
}

/** Folder of a user's definitions, for machines that have none of their own. */
export function userDefinitions(): string {
  const config = process.env['XDG_CONFIG_HOME']
  return join(config ? config : join(homedir(), '.config'), 'vfio', 'mdevctl.d')
}
