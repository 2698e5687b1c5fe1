/** Bytes of JavaScript that stand for user memory behind an ioctl's pointer. */
import { VfioError } from '../errors.ts'
import type { IoctlArgument } from './ops.ts'

/** Address that the bytes pretend to lie at. */
const SOMEWHERE = 0x7fff_0000_0000n

/** Makes the argument; beyond the bytes there is nothing (EFAULT). */
export function bytesArgument(bytes: Uint8Array): IoctlArgument {
  const fault = (offset: number): VfioError => new VfioError('EFAULT', 'ioctl', { address: SOMEWHERE + BigInt(offset) })
  return {
    value: SOMEWHERE,
    read(length, offset = 0) {
      if (offset + length > bytes.byteLength) throw fault(offset)
      return bytes.slice(offset, offset + length)
    },
    write(data, offset = 0) {
      if (offset + data.byteLength > bytes.byteLength) throw fault(offset)
      bytes.set(data, offset)
    },
  }
}
