/**
 * A look at the first bytes of a shared object of Linux before it is loaded: the system's loader maps a file that is cut
 * short without a word, and the process dies at the first page that is missing.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/** What stands in the way of loading a file. */
export interface ElfFlaw {
  kind: 'truncated' | 'machine'
  words: string
}

const HEADER_SIZE = 64
const MAGIC = 0x464c457f
const CLASS_64 = 2
const LITTLE_ENDIAN = 1
/** `e_machine` by `process.arch`. */
const MACHINES: Readonly<Record<string, number>> = { x64: 62, arm64: 183, riscv64: 243, loong64: 258 }

/** Tells what is wrong with an ELF file for a processor; undefined for what is fine, no ELF file or unreadable: that the loader says. */
export function elfFlaw(path: string, arch: string = process.arch): ElfFlaw | undefined {
  const file = start(path)
  if (file === undefined) return undefined
  const { header, size } = file
  const [elfClass, order] = [header.getUint8(4), header.getUint8(5)]
  if (header.getUint32(0, true) !== MAGIC || elfClass !== CLASS_64 || order !== LITTLE_ENDIAN) return undefined

  const machine = header.getUint16(18, true)
  const wanted = MACHINES[arch]
  if (wanted !== undefined && machine !== wanted) {
    const [name = `machine ${machine}`] = Object.entries(MACHINES).find(([, code]) => code === machine) ?? []
    return { kind: 'machine', words: `it is for ${name}, and this process is ${arch}` }
  }
  // The table of sections ends the file.
  const sections = header.getBigUint64(0x28, true)
  const end = sections + BigInt(header.getUint16(0x3a, true) * header.getUint16(0x3c, true))
  if (end <= BigInt(size)) return undefined
  return { kind: 'truncated', words: `the file is cut short: ${size} of ${end} bytes are there` }
}

/** The header of a file, if it is long enough for one. */
function start(path: string): { header: DataView; size: number } | undefined {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const bytes = new Uint8Array(HEADER_SIZE)
    if (readSync(fd, bytes, 0, HEADER_SIZE, 0) < HEADER_SIZE) return undefined
    return { header: new DataView(bytes.buffer), size: fstatSync(fd).size }
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
