/** Steps on files: open, close, read, write, mmap. */
import { big, bytesOf, hex, hexBytes, small } from './number.ts'
import { isRecord, type Step } from './scenario.ts'
import type { Session } from './session.ts'
import type { StepPlayer } from './step-player.ts'
import { bind, call, callOn } from './system-call.ts'
import { STRUCTS, ioctlNumberOf } from './layout.ts'

const READ_FILL = 0xcc

/** Resolves `at`: a file offset, or a region's offset plus something. */
function position(session: Session, step: Step): bigint {
  const at = step['at']
  if (!isRecord(at)) return at === undefined ? 0n : big(at)
  return regionOffset(session, step, small(at['region'])) + (at['off'] === undefined ? 0n : big(at['off']))
}

function regionOffset(session: Session, step: Step, region: number): bigint {
  const info = STRUCTS['vfio_region_info']
  const file = session.handles.get(String(step.on))
  const fallback = BigInt(region) << 40n
  if (info === undefined || file === undefined) return fallback
  const bytes = new Uint8Array(info.size)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, info.size, true)
  view.setUint32(info.fields['index']?.offset ?? 8, region, true)
  const answer = call(() => ({
    ret: file.ioctl(ioctlNumberOf('VFIO_DEVICE_GET_REGION_INFO', session.platform), bytes),
  }))
  return answer['ret'] === 0 ? view.getBigUint64(info.fields['offset']?.offset ?? 24, true) : fallback
}

function readInto(length: number, run: (into: Uint8Array) => number): { ret: number; data?: string } {
  const into = new Uint8Array(length).fill(READ_FILL)
  const ret = run(into)
  return { ret, data: hexBytes(into.subarray(0, ret)) }
}

/** Operations on descriptors. */
export const fileSteps: Record<string, StepPlayer> = {
  open: (session, step) =>
    call(() => {
      const path = session.machine.expand(String(step['path']))
      const mode = (step['mode'] ?? 'rw') as 'r' | 'w' | 'rw'
      return bind(session, step, session.process.open(path, mode))
    }),
  close: (session, step) =>
    callOn(session, step, (file) => {
      session.handles.delete(String(step.on))
      file.close()
      return { ret: 0 }
    }),
  dup: (session, step) => callOn(session, step, (file) => bind(session, step, file.dup())),
  pipe: (session, step) => call(() => bind(session, step, session.process.pipe().read)),
  pread: (session, step) =>
    callOn(session, step, (file) => readInto(small(step['len']), (into) => file.read(into, position(session, step)))),
  pwrite: (session, step) =>
    callOn(session, step, (file) => {
      const data = bytesOf(step['data'])
      const sent = step['len'] === undefined ? data : data.subarray(0, small(step['len']))
      return { ret: file.write(sent, position(session, step)) }
    }),
  read: (session, step) => callOn(session, step, (file) => readInto(small(step['len']), (into) => file.read(into))),
  write: (session, step) => callOn(session, step, (file) => ({ ret: file.write(bytesOf(step['data'])) })),
  'copy-fd': (session, step) =>
    callOn(session, step, (file) => {
      const chunks: Uint8Array[] = []
      for (;;) {
        const chunk = new Uint8Array(4096)
        const got = file.read(chunk)
        if (got === 0) break
        chunks.push(chunk.subarray(0, got))
      }
      const blob = Buffer.concat(chunks)
      if (step.as !== undefined) session.blobs.set(step.as, new Uint8Array(blob))
      return { ret: blob.byteLength, data: hexBytes(blob) }
    }),
  'write-blob': (session, step) =>
    callOn(session, step, (file) => {
      const blob = session.blobs.get(String(step['blob'])) ?? new Uint8Array()
      const from = step['from'] === undefined ? 0 : small(step['from'])
      const length = step['len'] === undefined ? blob.byteLength - from : small(step['len'])
      return { ret: file.write(blob.subarray(from, from + length)) }
    }),
  mmap: (session, step) =>
    callOn(session, step, (file) => {
      const prot = String(step['prot'] ?? 'rw')
      const mapping = file.mmap({
        offset: position(session, step),
        length: big(step['len']),
        read: prot.includes('r'),
        write: prot.includes('w'),
        execute: prot.includes('x'),
        shared: (step['flags'] ?? 'shared') === 'shared',
      })
      if (step.as === undefined) mapping.close()
      else session.mappings.set(step.as, mapping)
      return { ret: 'mapped' }
    }),
  munmap: (session, step) => {
    const name = String(step['map'])
    session.mappings.get(name)?.close()
    session.mappings.delete(name)
    return { ret: 0 }
  },
  'mem-read': (session, step) => {
    const mapping = session.mappings.get(String(step['map']))
    if (mapping === undefined) return { ret: -1, errno: 'EFAULT' }
    return call(() => ({ ret: 0, value: hex(mapping.read(big(step['off']), small(step['width']) as 1 | 2 | 4 | 8)) }))
  },
  'mem-write': (session, step) => {
    const mapping = session.mappings.get(String(step['map']))
    if (mapping === undefined) return { ret: -1, errno: 'EFAULT' }
    return call(() => {
      mapping.write(big(step['off']), small(step['width']) as 1 | 2 | 4 | 8, big(step['value']))
      return { ret: 0 }
    })
  },
}
