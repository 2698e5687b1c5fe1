/** Steps on user memory, limits and the locked-memory account. */
import { big, bytesOf, hex, hexBytes, small, smallOr } from './number.ts'
import type { Numeric, Step } from './scenario.ts'
import type { Session } from './session.ts'
import type { StepPlayer } from './step-player.ts'
import { call } from './system-call.ts'

/** The part of a buffer that a step means: from `offset`, `len` bytes, by default all of it. */
function part(session: Session, step: Step): { address: bigint; length: number } {
  const buffer = session.buffer(String(step['buf']))
  const offset = smallOr(step['offset'] as Numeric | undefined, 0)
  const length = step['len'] === undefined ? buffer.length - offset : small(step['len'])
  return { address: buffer.address + BigInt(offset), length }
}

const read: StepPlayer = (session, step) =>
  call(() => {
    const { address, length } = part(session, step)
    const data = session.process.readMemory(address, length)
    return { ret: 0, data: hexBytes(data) }
  })

const fill: StepPlayer = (session, step) =>
  call(() => {
    const { address, length } = part(session, step)
    session.process.writeMemory(address, new Uint8Array(length).fill(small(step['byte'])))
    return { ret: 0 }
  })

const unmap: StepPlayer = (session, step) =>
  call(() => {
    const { address, length } = part(session, step)
    session.process.unmap(address, BigInt(length))
    return { ret: 0 }
  })

const PROTECTION: Record<string, { read: boolean; write: boolean }> = {
  r: { read: true, write: false },
  rw: { read: true, write: true },
  none: { read: false, write: false },
}

/** Operations on memory. */
export const memorySteps: Record<string, StepPlayer> = {
  'buf-read': read,
  buf_read: read,
  'buf-fill': fill,
  buf_fill: fill,
  'buf-unmap': unmap,
  buf_unmap: unmap,
  'buf-write': (session, step) =>
    call(() => {
      const { address } = part(session, step)
      session.process.writeMemory(address, bytesOf(step['data']))
      return { ret: 0 }
    }),
  'buf-mlock': (session, step) =>
    call(() => {
      const { address, length } = part(session, step)
      session.process.mlock(address, BigInt(length))
      return { ret: 0 }
    }),
  buf_protect: (session, step) =>
    call(() => {
      const { address, length } = part(session, step)
      const access = PROTECTION[String(step['prot'])]
      if (access === undefined) throw new Error(`unknown protection ${String(step['prot'])}`)
      session.process.protect(address, BigInt(length), access)
      return { ret: 0 }
    }),
  buf_scan: (session, step) =>
    call(() => {
      const { address, length } = part(session, step)
      const at = session.process.readMemory(address, length).findIndex((byte) => byte !== small(step['byte']))
      return { ret: 0, offset: at < 0 ? null : hex(at) }
    }),
  rlimit: (session, step) =>
    call(() => {
      session.process.setMemlock(big(step['value']))
      return { ret: 0 }
    }),
  locked: (session, step) => {
    const field = step['field']
    if (field !== 'VmLck' && field !== 'VmPin') throw new Error(`unknown counter ${String(field)}`)
    return { ret: 0, kb: Number(session.lockedKib(field)) }
  },
}
