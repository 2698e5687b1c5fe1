/** Topology files on the command line. */
import { readFile } from 'node:fs/promises'
import { DEFAULT_TOPOLOGY, hostFromTopology, type SoftwareHost, type Topology, VfioError } from '../index.ts'

/** The machine of a file, or the default one. @throws {VfioError} EINVAL the file is no topology */
export async function machineOf(file: string | undefined): Promise<SoftwareHost> {
  if (file === undefined) return hostFromTopology(DEFAULT_TOPOLOGY)
  const text = await readFile(file, 'utf8')
  try {
    return hostFromTopology(JSON.parse(text) as Topology)
  } catch (cause) {
    if (cause instanceof VfioError) throw cause
    throw new VfioError('EINVAL', 'topology', { path: file, reason: (cause as Error).message, cause })
  }
}
