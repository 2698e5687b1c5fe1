/** The device name of `VFIO_GROUP_GET_DEVICE_FD` as vfio-pci reads it: an address, and options behind spaces. */
import { VfioError } from '../errors.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i
const VF_TOKEN = 'vf_token='

/**
 * Tells whether `text` names the function at `address`, such as `'0000:06:0d.0'` or `'0000:06:0d.0 vf_token=UUID'`.
 * @throws {VfioError} EINVAL an unknown or doubled option, a token that is no UUID, a token for a function that takes none
 */
export function matchPciName(address: string, text: string): boolean {
  if (!text.startsWith(address)) return false
  let rest = text.slice(address.length)
  if (rest !== '' && !rest.startsWith(' ')) return false
  let token = false
  for (rest = rest.replace(/^ +/, ''); rest !== ''; rest = rest.replace(/^ +/, '')) {
    if (token || !rest.startsWith(VF_TOKEN)) throw refuse('it has an unknown option')
    const uuid = UUID.exec(rest.slice(VF_TOKEN.length))
    if (uuid === null) throw refuse('the token is no UUID')
    token = true
    rest = rest.slice(VF_TOKEN.length + uuid[0].length)
  }
  // Neither virtual functions nor physical ones with a token are simulated: whoever brings a token is at the wrong door.
  if (token) throw refuse('the function takes no token')
  return true
}

function refuse(reason: string): VfioError {
  return new VfioError('EINVAL', 'VFIO_GROUP_GET_DEVICE_FD', { reason })
}
