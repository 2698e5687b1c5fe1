/** What `vfio bench` is asked to do. */
import { type Call, type CommandOption, UsageError } from '../command.ts'

/** Ways to reach memory. */
const ENGINES = ['handle', 'ring', 'map'] as const
const PATTERNS = ['random', 'sequential', 'hot'] as const
const COMPLETIONS = ['polling', 'msix'] as const
const OPERATIONS = ['copy', 'fill', 'compare', 'crc32c'] as const

/** A job, complete. Sizes are bytes. */
export interface Job {
  /** `handle`: reads and writes through the device's view; `ring`: the DMA engine works off descriptors; `map`: maps and unmaps. */
  engine: (typeof ENGINES)[number]
  /** What the DMA engine does. */
  operation: (typeof OPERATIONS)[number]
  /** How the DMA engine tells that it is done. */
  completion: (typeof COMPLETIONS)[number]
  pattern: (typeof PATTERNS)[number]
  /** Bytes of one access. */
  blockSize: number
  /** Accesses of one request: a batch in one call, or the entries of one doorbell. */
  depth: number
  /** How many of a hundred accesses read; the others write. */
  readPercent: number
  /** Bytes of memory. */
  size: number
  mappings: number
  /** What mappings are made of whole numbers of. */
  pageSize: number
  /** How many of a hundred mappings lie somewhere else than their neighbours. */
  fragmentation: number
  threads: number
  seconds: number
}

/** Most mappings of a container, unless its module is told otherwise. */
const MAPPING_LIMIT = 65_535
const PAGE = 4096
const MOST_DEPTH = 512
const MOST_THREADS = 64
/** Most bytes of an entry of the DMA engine. */
const LARGEST_BLOCK = 4 << 20

/** Options of the command. */
export const JOB_OPTIONS: readonly CommandOption[] = [
  {
    name: 'engine',
    value: 'NAME',
    choices: ENGINES,
    summary:
      "handle: through the device's view of memory (default); ring: a DMA engine works off descriptors; map: mappings are made and unmade",
  },
  { name: 'operation', value: 'NAME', choices: OPERATIONS, summary: 'of the ring; default copy' },
  {
    name: 'completion',
    value: 'NAME',
    choices: COMPLETIONS,
    summary: 'how the ring tells that it is done; default polling',
  },
  { name: 'bs', value: 'SIZE', summary: 'bytes of an access; default 4k' },
  { name: 'depth', value: 'N', summary: 'accesses of one request; default 1' },
  { name: 'pattern', value: 'NAME', choices: PATTERNS, summary: 'random (default), sequential, or hot: 64 places' },
  { name: 'read', value: 'PERCENT', summary: 'how many of the accesses read; default 100' },
  { name: 'size', value: 'SIZE', summary: 'memory; default 64m' },
  { name: 'page-size', value: 'SIZE', summary: 'what mappings are made of whole numbers of: 4k (default), 2m, 1g' },
  { name: 'mappings', value: 'N', summary: 'how many mappings; default as many as there are pages' },
  { name: 'fragmentation', value: 'PERCENT', summary: 'mappings that lie apart from their neighbours; default 100' },
  { name: 'threads', value: 'N', summary: "workers that share memory, mappings and the device's view; default 1" },
  { name: 'time', value: 'SECONDS', summary: 'how long; default 3' },
  { name: 'html', value: 'FILE', summary: 'writes a report with plots' },
]

/** Reads a call. @throws {UsageError} */
export function jobOf(call: Call): Job {
  const size = bytes(call, 'size', '64m', PAGE, 2 ** 40)
  const pageSize = bytes(call, 'page-size', '4k', PAGE, size)
  const most = Math.min(MAPPING_LIMIT, Math.floor(size / pageSize))
  const job: Job = {
    engine: one(call, 'engine', ENGINES),
    operation: one(call, 'operation', OPERATIONS),
    completion: one(call, 'completion', COMPLETIONS),
    pattern: one(call, 'pattern', PATTERNS),
    blockSize: bytes(call, 'bs', '4k', 1, Math.min(size, LARGEST_BLOCK)),
    depth: number(call, 'depth', 1, 1, MOST_DEPTH),
    readPercent: number(call, 'read', 100, 0, 100),
    size,
    pageSize,
    mappings: number(call, 'mappings', most, 1, most),
    fragmentation: number(call, 'fragmentation', 100, 0, 100),
    threads: number(call, 'threads', 1, 1, MOST_THREADS),
    seconds: number(call, 'time', 3, 0.01, 86_400, false),
  }
  if (job.engine === 'ring' && job.threads > 1) {
    throw new UsageError('--engine ring has one thread: its registers belong to the worker that opened the device')
  }
  if (job.engine === 'map' && job.blockSize % PAGE !== 0) {
    throw new UsageError(`--engine map takes a --bs of whole pages of ${PAGE} bytes`)
  }
  return job
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 }

function bytes(call: Call, name: string, standard: string, least: number, most: number): number {
  const [, digits, unit = ''] = /^(\d{1,15})([kmg]?)i?b?$/i.exec(call.text(name) ?? standard) ?? []
  const result = Number(digits) * (UNITS[unit.toLowerCase()] ?? Number.NaN)
  if (!(result >= least && result <= most)) throw new UsageError(`--${name} is a size from ${least} to ${most} bytes`)
  return result
}

function number(call: Call, name: string, standard: number, least: number, most: number, whole = true): number {
  const text = call.text(name)
  const result = text === undefined ? standard : text.trim() === '' ? Number.NaN : Number(text)
  if (!(result >= least && result <= most) || (whole && !Number.isInteger(result))) {
    throw new UsageError(`--${name} is a ${whole ? 'whole ' : ''}number from ${least} to ${most}`)
  }
  return result
}

/** An option's value, whose choices were checked; the first one is the standard. */
function one<T extends string>(call: Call, name: string, choices: readonly [T, ...T[]]): T {
  return choices.find((choice) => choice === call.text(name)) ?? choices[0]
}
