/** Reads which versions of a C library's symbols a shared object of Linux needs (64 bit, little endian). */
import { readFileSync } from 'node:fs'

const SECTION_NEEDED_VERSIONS = 0x6ffffffe

/** The machine that a shared object is for (`e_machine`), and the versions it needs, such as `{ 'libc.so.6': ['GLIBC_2.17'] }`. */
export function readElf(path) {
  const bytes = readFileSync(path)
  if (bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) {
    throw new Error(`${path} is no 64-bit little-endian ELF file`)
  }
  const section = (index) => {
    const at = Number(bytes.readBigUInt64LE(0x28)) + index * bytes.readUInt16LE(0x3a)
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      link: bytes.readUInt32LE(at + 40),
      entries: bytes.readUInt32LE(at + 44),
    }
  }
  const sections = Array.from({ length: bytes.readUInt16LE(0x3c) }, (_, index) => section(index))
  const needed = sections.find(({ type }) => type === SECTION_NEEDED_VERSIONS)
  const versions = {}
  if (needed !== undefined) {
    const text = (at) => {
      const start = sections[needed.link].offset + at
      return bytes.toString('latin1', start, bytes.indexOf(0, start))
    }
    // A chain of files, each with a chain of versions (`Elf64_Verneed`, `Elf64_Vernaux`).
    for (let file = needed.offset, files = needed.entries; files > 0; files--) {
      const names = []
      let version = file + bytes.readUInt32LE(file + 8)
      for (let count = bytes.readUInt16LE(file + 2); count > 0; count--) {
        names.push(text(bytes.readUInt32LE(version + 8)))
        version += bytes.readUInt32LE(version + 12)
      }
      versions[text(bytes.readUInt32LE(file + 4))] = names.toSorted()
      file += bytes.readUInt32LE(file + 12)
    }
  }
  return { machine: bytes.readUInt16LE(0x12), versions }
}

/** The newest glibc that a shared object needs, such as `'2.17'`; undefined where it needs none by version. */
export function glibcNeeded(path) {
  return Object.values(readElf(path).versions)
    .flat()
    .filter((name) => name.startsWith('GLIBC_'))
    .map((name) => name.slice('GLIBC_'.length))
    .toSorted(compareVersions)
    .at(-1)
}

/** Orders `2.4` before `2.17`. */
export function compareVersions(left, right) {
  const [a, b] = [left, right].map((version) => version.split('.').map(Number))
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const order = (a[i] ?? 0) - (b[i] ?? 0)
    if (order !== 0) return order
  }
  return 0
}
