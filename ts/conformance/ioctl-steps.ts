/** Steps that call ioctl. */
import {
  buildStruct,
  changedFields,
  changedTail,
  decodeCapabilities,
  readField,
  type StructArgument,
} from './argument.ts'
import type { Answer } from './compare.ts'
import { ioctlNumberOf, ioctlStruct, returnsDescriptor } from './layout.ts'
import { big } from './number.ts'
import { isRecord, type Step } from './scenario.ts'
import type { Session } from './session.ts'
import type { StepPlayer } from './step-player.ts'
import { bind, call } from './system-call.ts'

/** A descriptor that every recorded process had, and no process here has. */
const STDIN = 0

/** The ioctl operation. */
export const ioctlSteps: Record<string, StepPlayer> = {
  ioctl: (session, step) => {
    const known = session.handles.get(String(step.on))
    if (known === undefined) return { ret: -1, errno: 'EBADF' }
    const file = step['from'] === 'child' ? session.child().file(known.fd) : known
    const request = ioctlNumberOf(String(step['req']), session.platform)
    if (isRecord(step['arg'])) return structCall(session, step, (bytes) => file.ioctl(request, bytes))
    return call(() => finish(session, step, file.ioctl(request, plainArgument(session, step))))
  },
}

function plainArgument(session: Session, step: Step): bigint | Uint8Array | string {
  if (step['scalar'] !== undefined) return BigInt.asUintN(64, session.names.value(step['scalar']))
  if (step['ptr'] !== undefined) return session.names.value(step['ptr'])
  if (typeof step['str'] === 'string') return session.machine.expand(step['str'])
  if (step['s32'] !== undefined) {
    return new Uint8Array(Int32Array.of(Number(BigInt.asIntN(32, session.names.value(step['s32'])))).buffer)
  }
  return 0n
}

/** Gives a descriptor that the call returned its name. */
function finish(session: Session, step: Step, ret: number): Answer {
  if (step.as === undefined && !returnsDescriptor(String(step['req']))) return { ret }
  return bind(session, step, session.process.file(ret))
}

function structCall(session: Session, step: Step, run: (bytes: Uint8Array) => number): Answer {
  const arg = step['arg'] as Record<string, unknown>
  const name = typeof step['struct'] === 'string' ? step['struct'] : ioctlStruct(String(step['req']))
  if (name === undefined) throw new Error(`${String(step['req'])} has no struct and the step names none`)
  const argument = buildStruct(name, arg, session.names)
  const before = argument.bytes.slice()
  const answer = call(() => finish(session, step, run(argument.bytes)))
  const succeeded = answer['errno'] === undefined
  const out = changedFields(argument.codec, before, argument.bytes)
  if (argument.payload !== undefined) {
    const data = changedFields(argument.payload.codec, before, argument.bytes, argument.payload.at)
    if (Object.keys(data).length > 0) out['data'] = data
  }
  if (succeeded) keepNames(session, step, argument, out)
  const capabilities = succeeded && 'cap_offset' in argument.codec.fields ? decodeCapabilities(argument) : []
  const tail = capabilities.length > 0 ? undefined : changedTail(argument, before)
  if (Object.keys(out).length > 0) answer['out'] = out
  if (capabilities.length > 0) answer['caps'] = capabilities
  if (tail !== undefined) answer['out_tail'] = tail
  return answer
}

/** Keeps object ids and descriptors that the call wrote, and shows them by name. */
function keepNames(session: Session, step: Step, argument: StructArgument, out: Answer): void {
  for (const [path, name] of Object.entries((step['save'] ?? {}) as Record<string, string>)) {
    session.names.saveId(name, big(fieldAt(argument, path)))
    showAs(out, path, { id: name })
  }
  for (const [path, name] of Object.entries((step['save_fd'] ?? {}) as Record<string, string>)) {
    const fd = Number(BigInt.asIntN(32, big(fieldAt(argument, path))))
    const file = session.process.fileOrUndefined(fd)
    if (file === undefined && fd !== STDIN) {
      showAs(out, path, fieldAt(argument, path))
      continue
    }
    // The recorded process had a standard input, which such a name stands for then.
    if (file === undefined) session.handles.delete(name)
    else session.handles.set(name, file)
    showAs(out, path, { handle: name })
  }
}

function fieldAt(argument: StructArgument, path: string): string {
  if (path.startsWith('data.') && argument.payload !== undefined) {
    return readField(argument.payload.codec, path.slice('data.'.length), argument.bytes, argument.payload.at)
  }
  return readField(argument.codec, path, argument.bytes)
}

function showAs(out: Answer, path: string, value: unknown): void {
  if (!path.startsWith('data.')) {
    out[path] = value
    return
  }
  const data = isRecord(out['data']) ? out['data'] : {}
  data[path.slice('data.'.length)] = value
  out['data'] = data
}
