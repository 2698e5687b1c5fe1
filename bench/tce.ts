/**
 * TCE: updates of an sPAPR window beside the mappings of type1, and version 2 against version 1.
 *
 * Each contender maps 512 pages and unmaps them again, in calls of 512 and of one. Version 1 looks each page up and pins it;
 * version 2 only checks that it is registered, which is what the VFIO document made it for. The contenders take turns.
 */
import { Edu, HostMemory, SoftwareHost, VFIO_SPAPR_TCE_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU, VFIO_TYPE1v2_IOMMU } from 'vfio'
import { median, rowOf, type Check, type Contest, type Goal } from './goal.ts'

const ADDRESS = '0000:00:04.0'
const PAGE = 4096
const ENTRIES = 512
const SIZE = ENTRIES * PAGE
const ROUNDS = 11

interface Contender extends Disposable {
  name: string
  /** Maps and unmaps all pages in calls of `pages`. */
  turn(pages: number): void
}

/** A container of one machine, with memory of 512 pages that it may map. */
function contender(name: string, model: number): Contender {
  const host = new SoftwareHost(model === VFIO_TYPE1v2_IOMMU ? {} : { platform: 'powernv', pageSize: PAGE })
  host.pci.add(ADDRESS, new Edu(), { driver: 'vfio-pci' })
  const container = host.openContainer()
  const group = host.openGroup(host.groupOf(ADDRESS).number)
  group.setContainer(container)
  container.setIommu(model)
  const memory = HostMemory.allocate(SIZE)
  if (model === VFIO_SPAPR_TCE_v2_IOMMU) container.spapr.registerMemory({ memory })
  if (model === VFIO_SPAPR_TCE_IOMMU) container.spapr.enable()
  const triples = new BigUint64Array(ENTRIES * 3)
  for (let i = 0; i < ENTRIES; i++) triples.set([BigInt(i * PAGE), BigInt(i * PAGE), BigInt(PAGE)], i * 3)
  const pairs = BigUint64Array.from({ length: ENTRIES * 2 }, (_, i) => BigInt(i % 2 === 0 ? (i / 2) * PAGE : PAGE))
  const access = { memory, read: true, write: true }
  return {
    name,
    turn(pages) {
      if (pages === ENTRIES && model === VFIO_TYPE1v2_IOMMU) {
        // Entries that can be unmapped one by one, as those of a window can.
        container.mapDmaBatch({ ...access, triples })
        container.unmapDmaBatch(pairs.slice())
        return
      }
      const length = pages * PAGE
      for (let at = 0; at < SIZE; at += length) container.mapDma({ ...access, iova: at, offset: at, length })
      for (let at = 0; at < SIZE; at += length) container.unmapDma({ iova: at, length })
    },
    [Symbol.dispose]() {
      group.close()
      container.close()
      memory.close()
      host.close()
    },
  }
}

/** Takes the figures. */
export function tceUpdates(quick: boolean): Goal {
  using type1 = contender('type1, one mapping a page', VFIO_TYPE1v2_IOMMU)
  using version1 = contender('sPAPR version 1, pins', VFIO_SPAPR_TCE_IOMMU)
  using version2 = contender('sPAPR version 2, registered memory', VFIO_SPAPR_TCE_v2_IOMMU)
  const all = [version2, version1, type1]
  const batch = contest('512 pages a call', all, ENTRIES, quick ? 20 : 100)
  const single = contest('one page a call', all, 1, quick ? 2 : 10)
  const ratio = ({ rows }: Contest, name: string): number | null =>
    rows.find((row) => row.name === name)?.ratioToFirst ?? null
  const check = (what: string, found: number | null): Check => ({
    what,
    ratio: found === null ? null : Number(found.toFixed(2)),
    sign: '>=',
    goal: 1,
    met: found === null ? null : found >= 1,
  })
  return {
    id: 'TCE',
    title: 'updates of TCEs',
    checks: [
      check('version 2 against version 1, 512 pages a call', ratio(batch, version1.name)),
      check('version 2 against version 1, one page a call', ratio(single, version1.name)),
      check('version 2 against type1, 512 pages a call', ratio(batch, type1.name)),
    ],
    contests: [batch, single],
    notes: [batch, single].map(({ name, rows }) => {
      const rates = rows.map((row) => `${row.name} ${Math.round(1e9 / row.wallNs / 1000)}`)
      return `${name}, thousand updates a second: ${rates.join('; ')}`
    }),
  }
}

function contest(name: string, all: readonly Contender[], pages: number, turns: number): Contest {
  const samples = all.map(() => ({ cpu: [] as number[], wall: [] as number[] }))
  for (const one of all) one.turn(pages)
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, one] of all.entries()) {
      const cpu = process.cpuUsage()
      const began = process.hrtime.bigint()
      for (let turn = 0; turn < turns; turn++) one.turn(pages)
      const wall = Number(process.hrtime.bigint() - began)
      const used = process.cpuUsage(cpu)
      const updates = turns * ENTRIES * 2
      samples[i]?.wall.push(wall / updates)
      samples[i]?.cpu.push(((used.user + used.system) * 1000) / updates)
    }
  }
  const first = median(samples[0]?.cpu ?? [])
  const rows = all.map((one, i) => rowOf(one.name, samples[i]?.cpu ?? [], samples[i]?.wall ?? [], first))
  return { name, rounds: ROUNDS, agree: true, rows }
}
