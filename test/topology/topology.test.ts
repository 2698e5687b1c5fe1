import { readFileSync } from 'node:fs'
import Ajv from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_TOPOLOGY, hostFromTopology, isErrno, type Topology } from '../../ts/index.ts'

const schema = JSON.parse(readFileSync(new URL('../../docs/topology.schema.json', import.meta.url), 'utf8')) as object
const valid = new Ajv.default({ strict: false }).compile(schema)

const WHOLE: Topology = {
  platform: 'x86',
  pageSize: 4096,
  firstGroup: 26,
  iommu: {
    addressWidth: 39,
    pgsizes: '0x1000',
    reserved: [{ start: '0xfee00000', last: '0xfeefffff', kind: 'msi' }],
    cacheCoherency: true,
  },
  dmaEntryLimit: 100,
  noiommu: false,
  pci: [
    { address: '0000:00:1e.0', bridge: 'pcie-to-pci', secondaryBus: 6 },
    { address: '0000:06:0d.0', model: 'edu', driver: 'vfio-pci', options: { dmaMask: '0xffffffff', revision: 3 } },
    {
      address: '0000:06:0d.1',
      model: 'inert',
      driver: 'emu10k1',
      options: { id: '1102:7002', bars: [{ index: 0, size: '0x1000', kind: 'memory32' }] },
    },
    { address: '0000:00:02.0', model: 'nvme', options: { capacity: 1048576, serial: 'S1' }, quirks: { acs: true } },
  ],
  mdev: [
    {
      driver: 'mtty',
      name: 'serial',
      options: { repaired: true },
      devices: [{ type: 'mtty-2', uuid: '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001' }],
    },
  ],
}

describe('hostFromTopology', () => {
  it('makes bridges, functions, drivers, parents and devices', () => {
    using host = hostFromTopology(WHOLE)
    expect(host.pci.devices.map(({ name, driver }) => [name, driver])).toEqual([
      ['0000:00:02.0', undefined],
      ['0000:00:1e.0', undefined],
      ['0000:06:0d.0', 'vfio-pci'],
      ['0000:06:0d.1', 'emu10k1'],
    ])
    expect(host.groupOf('0000:06:0d.0').explain().viable).toBe(false)
    expect(Math.min(...host.groups)).toBe(26)
    expect(host.mdev.parent('serial')?.devices.map((mdev) => mdev.type.id)).toEqual(['mtty-2'])
    expect(host.sysfs.read('/sys/module/vfio_iommu_type1/parameters/dma_entry_limit')).toBe('100\n')
  })

  it('has a default that the schema allows', () => {
    using host = hostFromTopology(DEFAULT_TOPOLOGY)
    expect(valid(DEFAULT_TOPOLOGY)).toBe(true)
    expect(host.mdev.types.map((type) => type.id)).toEqual(['mtty-1', 'mtty-2'])
  })

  it.each([
    [{ pci: [{ address: '0000:00:01.0', model: 'toaster' }] }, 'topology.pci[0].model'],
    [{ pci: [{ address: 7, model: 'edu' }] }, 'topology.pci[0].address'],
    [{ pci: [{ address: '0000:00:01.0', model: 'edu', options: { color: 1 } }] }, 'topology.pci[0].options.color'],
    [{ pci: [{ address: '0000:00:01.0', bridge: 'root-port', driver: 'x' }] }, 'topology.pci[0].driver'],
    [{ iommu: { reserved: [{ start: -1, last: 0, kind: 'msi' }] } }, 'topology.iommu.reserved[0].start'],
    [{ mdev: [{ driver: 'mtty', devices: [{ type: 'mtty-3', uuid: 'x' }] }] }, 'topology.mdev[0].devices[0].type'],
    [{ machine: 1 }, 'topology.machine'],
  ])('names what is wrong in %j', (topology, path) => {
    expect(() => hostFromTopology(topology as Topology)).toThrow(path)
  })

  it('says what the machine refuses', () => {
    const twice = { address: '0000:00:01.0', model: 'edu' } as const
    expect(() => hostFromTopology({ pci: [twice, twice] })).toThrow(expect.objectContaining({ code: 'EEXIST' }))
  })

  it('accepts nothing that the schema forbids, and refuses for shape nothing that it allows', () => {
    fc.assert(
      fc.property(spoiled(), (topology) => {
        const refusal = refusalOf(topology)
        // What no schema can say: addresses, ids and sizes, which are read where they are used.
        const forShape = /is not known there|must be (an object|a boolean|one of)/.test(refusal)
        return valid(topology) ? !forShape : refusal !== ''
      }),
      { numRuns: 300 },
    )
  })
})

/** The whole topology with one of its values replaced, dropped or added. */
function spoiled(): fc.Arbitrary<Topology> {
  const places = placesOf(WHOLE, [])
  const values = fc.oneof(
    fc.constantFrom<unknown>(
      null,
      true,
      false,
      0,
      -1,
      1.5,
      2 ** 53,
      '',
      '0x10',
      'mtty',
      {},
      [],
      [{}],
      'edu',
      undefined,
    ),
    fc.string(),
    fc.integer(),
  )
  return fc.tuple(fc.constantFrom(...places), values, fc.boolean()).map(([place, value, added]) => {
    const topology = structuredClone(WHOLE)
    let at = topology as unknown as Record<string, unknown>
    for (const step of place.slice(0, -1)) at = at[step] as Record<string, unknown>
    const last = place.at(-1) as string
    if (value === undefined && !Array.isArray(at)) delete at[last]
    else at[added && !Array.isArray(at) ? `${last}x` : last] = value ?? null
    return topology
  })
}

function placesOf(value: unknown, path: string[]): string[][] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => [[...path, key], ...placesOf(inner, [...path, key])])
}

function refusalOf(topology: Topology): string {
  try {
    hostFromTopology(topology).close()
    return ''
  } catch (error) {
    const coded = isErrno(error) || (error as { code?: string }).code?.startsWith('ERR_') === true
    if (!coded) throw error
    return (error as Error).message
  }
}
