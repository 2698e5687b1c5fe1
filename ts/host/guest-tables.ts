/** TCE tables of guests: as files of a process, and how a virtual machine's VFIO device gives them to groups. */
import type { Task } from '../device/task.ts'
import { invalidArgType, outOfRange, VfioError } from '../errors.ts'
import { GroupFile } from '../files/group-file.ts'
import type { OpenFile } from '../files/open-file.ts'
import { HostMemory } from '../memory/host-memory.ts'
import { list, record, u64, type U64 } from '../shape.ts'
import { GuestMemory } from '../spapr/guest-memory.ts'
import { GuestTceTable } from '../spapr/guest-tce-table.ts'
import type { TableGroup } from '../spapr/table-group.ts'

/** A table for a guest; sizes in bytes. */
export interface GuestTableOptions {
  /** Size of its pages. */
  pageSize: U64
  /** First bus address. */
  start: U64
  /** How much it covers. */
  size: U64
  /** The guest's memory: what lies at which of its addresses. */
  memory: readonly { guest: U64; memory: HostMemory }[]
}

/** Makes a table for a guest of a process. @throws {TypeError} a value of the wrong shape @throws {VfioError} EINVAL, EEXIST */
export function makeGuestTable(options: GuestTableOptions, task: Task): GuestTceTable {
  const pageSize = u64(record(options, 'options').pageSize, 'pageSize')
  if (pageSize === 0n || (pageSize & (pageSize - 1n)) !== 0n) throw outOfRange('pageSize', 'a power of two', pageSize)
  const guest = new GuestMemory(task.mm)
  for (const slot of list(options.memory, 'memory')) {
    if (!(record(slot, 'memory').memory instanceof HostMemory))
      throw invalidArgType('memory.memory', 'a HostMemory', slot.memory)
    guest.add({
      guest: u64(slot.guest, 'memory.guest'),
      vaddr: task.place(slot.memory),
      size: BigInt(slot.memory.byteLength),
    })
  }
  const pageShift = pageSize.toString(2).length - 1
  const geometry = { pageShift, start: u64(options.start, 'start'), size: u64(options.size, 'size') }
  return new GuestTceTable(geometry, guest)
}

/** The file of a guest's table, which `KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE` takes. */
export class GuestTableFile implements OpenFile {
  readonly kind = 'spapr-tce-table'
  readonly table: GuestTceTable

  constructor(table: GuestTceTable) {
    this.table = table
  }
}

/**
 * Makes what attaches a table's file to a group's file.
 *
 * The attacher throws EINVAL for files of other kinds, and for a table that fits no window of the group.
 */
export function guestTableAttacher(groupOf: (number: number) => TableGroup) {
  return (group: object, table: object): void => {
    if (!(group instanceof GroupFile) || !(table instanceof GuestTableFile)) {
      throw new VfioError('EINVAL', 'KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE', {
        reason: 'that takes the file of a group and the file of a TCE table',
      })
    }
    table.table.attach(groupOf(group.groupSession.group.number))
  }
}
