/** What a topology can name: PCI devices and drivers of mediated devices, with the options that each takes. */
import { mbochs } from '../drivers/mbochs.ts'
import { mdpy } from '../drivers/mdpy.ts'
import { mtty } from '../drivers/mtty.ts'
import { outOfRange } from '../errors.ts'
import type { MdevParentOptions } from '../mdev/parent-options.ts'
import type { PciBar } from '../pci/config-space.ts'
import { DmaEngine } from '../pci/dma-engine.ts'
import { Edu } from '../pci/edu.ts'
import type { PciFunctionDescriptor, PciFunctionOptions } from '../pci/hardware.ts'
import { InertFunction } from '../pci/inert-function.ts'
import { Ioat } from '../pci/ioat.ts'
import { Nvme } from '../pci/nvme.ts'
import { E1000e, Testdev } from '../pci/qemu-devices.ts'
import { oneOf, text, u32 } from '../shape.ts'
import { elements, type Field, members, optional, quantity, truth } from './field.ts'
import type { TopologyDriver, TopologyModel } from './topology.ts'

/** Reads one option. */
type Reader = (value: unknown, path: string) => unknown

/** Something that is made from options. */
interface Kind<T> {
  options: Readonly<Record<string, Reader>>
  make(options: Readonly<Record<string, unknown>>): T
}

const IDENTITY: Readonly<Record<keyof PciFunctionOptions, Reader>> = {
  id: text,
  subsystem: text,
  revision: u32,
  classCode: u32,
  multifunction: truth,
}

const NVME = { ...IDENTITY, capacity: quantity, serial: text, model: text, blockSize: u32, queuePairs: u32 }
const INERT = {
  ...IDENTITY,
  bars: (value: unknown, path: string) => elements({ value, path }).map(barOf),
  interruptPin: u32,
  express: (value: unknown, path: string) => oneOf(value, ['endpoint', 'root-complex'], path),
}

const MODELS: Readonly<Record<TopologyModel, Kind<PciFunctionDescriptor>>> = {
  edu: { options: { ...IDENTITY, dmaMask: quantity }, make: (options) => new Edu(options) },
  nvme: { options: NVME, make: (options) => new Nvme(options) },
  'dma-engine': { options: IDENTITY, make: (options) => new DmaEngine(options) },
  ioat: { options: IDENTITY, make: (options) => new Ioat(options) },
  e1000e: { options: IDENTITY, make: (options) => new E1000e(options) },
  testdev: { options: IDENTITY, make: (options) => new Testdev(options) },
  inert: { options: INERT, make: (options) => new InertFunction(options) },
}

const DRIVERS: Readonly<Record<TopologyDriver, Kind<MdevParentOptions>>> = {
  mtty: { options: { ports: u32, parentAttributes: truth, repaired: truth }, make: (options) => mtty(options) },
  mdpy: { options: { instances: u32, repaired: truth }, make: (options) => mdpy(options) },
  mbochs: { options: { megabytes: u32, repaired: truth }, make: (options) => mbochs(options) },
}

/** Describes the function that `model` names. @throws {TypeError | RangeError} what stands there is not right */
export function modelOf(model: Field, options: Field): PciFunctionDescriptor {
  return made(MODELS, model, options)
}

/** Describes the parent that `driver` names. @throws {TypeError | RangeError} what stands there is not right */
export function parentOf(driver: Field, options: Field): { driver: TopologyDriver; parent: MdevParentOptions } {
  return { driver: driver.value as TopologyDriver, parent: made(DRIVERS, driver, options) }
}

function made<N extends string, T>(kinds: Readonly<Record<N, Kind<T>>>, name: Field, options: Field): T {
  const kind = kinds[oneOf(name.value, Object.keys(kinds) as N[], name.path)]
  const given = options.value === undefined ? { ...options, value: {} } : options
  const fields = members(given, Object.keys(kind.options))
  const read = Object.entries(kind.options).map(([option, reader]) => optional(option, fields[option] as Field, reader))
  return kind.make(Object.assign({}, ...read) as Record<string, unknown>)
}

function barOf(field: Field): PciBar {
  const { index, size, kind, prefetchable } = members(field, ['index', 'size', 'kind', 'prefetchable'])
  const bytes = quantity(size.value, size.path)
  const kindOf = oneOf(kind.value, ['memory32', 'memory64', 'io'], kind.path)
  const last = kindOf === 'memory64' ? 4 : 5
  if (u32(index.value, index.path) > last) throw outOfRange(index.path, `>= 0 and <= ${last}`, index.value)
  const least = kindOf === 'io' ? 4n : 16n
  if (bytes < least || (bytes & (bytes - 1n)) !== 0n)
    throw outOfRange(size.path, `a power of two from ${least} on`, bytes)
  return {
    index: index.value as number,
    size: bytes,
    kind: kindOf,
    ...optional('prefetchable', prefetchable, truth),
  }
}
