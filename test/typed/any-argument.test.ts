/**
 * Whatever is passed to whatever method, the answer is a value, a TypeError or RangeError with an `ERR_*` code, or an errno
 * with its call; nothing else is thrown, nothing crashes, and no descriptor is left behind.
 */
import { EventEmitter } from 'node:events'
import { readdirSync } from 'node:fs'
import fc from 'fast-check'
import { isErrno } from 'vfio'
import { expect, it } from 'vitest'
import { anything, type Machine, machine } from './machine.ts'

/** Not for callers: what the parts of a machine ask of each other. */
const INTERNAL: Readonly<Record<string, readonly string[]>> = {
  parent: ['admit', 'dismiss'],
  mdevBus: ['notify'],
  HostMemory: ['fromNative'],
  EventFd: ['fromNative'],
}
/** Classes whose static methods are meant. */
const CLASSES: ReadonlySet<string> = new Set(['HostMemory', 'EventFd'])
const RUNS = Number(process.env['VFIO_TEST_RUNS'] ?? 6)
const CALLS = 12

/** The methods of an object, those of its superclasses too. */
function methodsOf(objects: Machine, name: keyof Machine): (string | symbol)[] {
  const found = new Set<string | symbol>()
  const own = CLASSES.has(name) || Object.getPrototypeOf(objects[name]) === Object.prototype
  let at: object | null = own ? objects[name] : Object.getPrototypeOf(objects[name])
  while (at !== null && at !== Object.prototype && at !== EventEmitter.prototype) {
    for (const key of Reflect.ownKeys(at)) {
      const value: unknown = Object.getOwnPropertyDescriptor(at, key)?.value
      if (typeof value === 'function' && key !== 'constructor' && !INTERNAL[name]?.includes(String(key))) found.add(key)
    }
    at = own ? null : Object.getPrototypeOf(at)
  }
  return [...found]
}

/** Tells whether an error is one that callers are promised. */
function promised(error: unknown): boolean {
  if (isErrno(error)) return typeof error.errno === 'number' && typeof error.syscall === 'string'
  if (!(error instanceof TypeError) && !(error instanceof RangeError)) return false
  return String((error as { code?: unknown }).code).startsWith('ERR_')
}

/** Calls a method and waits for its promise, if it gives one, for a moment; gives the answer. */
async function call(target: object, method: string | symbol, args: readonly unknown[]): Promise<unknown> {
  try {
    const answer: unknown = (target as Record<string | symbol, (...args: readonly unknown[]) => unknown>)[method]?.(
      ...args,
    )
    if (!(answer instanceof Promise)) return answer
    answer.catch(() => {})
    return await Promise.race([answer, new Promise((resolve) => setImmediate(resolve))])
  } catch (error) {
    if (!promised(error)) throw new Error(`${String(method)} threw ${String(error)}`, { cause: error })
    return undefined
  }
}

/** Reads every property, which may be refused as calls may. */
function look(target: object): void {
  for (let at: object | null = target; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const [key, { get }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      try {
        get?.call(target)
      } catch (error) {
        if (!promised(error)) throw new Error(`${key} threw ${String(error)}`, { cause: error })
      }
    }
  }
}

/** Lets go of what the machine or a call gave. */
function dispose(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) return value.forEach(dispose)
  const close: unknown = (value as Partial<Disposable>)[Symbol.dispose]
  if (typeof close === 'function') close.call(value)
}

/** How many descriptors this process has, where the system tells. */
function descriptors(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0
}

const sample = machine()
const names = Object.keys(sample) as (keyof Machine)[]
const methods = new Map(names.map((name) => [name, methodsOf(sample, name)]))

it('knows the methods of everything', () => {
  expect([...methods.values()].flat().length).toBeGreaterThan(300)
})

it.each(names.filter((name) => (methods.get(name) ?? []).length > 0))('%s', { timeout: 120_000 }, async (name) => {
  const own = methods.get(name) ?? []
  const calls = fc.tuple(fc.constantFrom(...own), fc.array(anything(Object.values(sample)), { maxLength: 4 }))
  await fc.assert(
    fc.asyncProperty(fc.array(calls, { minLength: 1, maxLength: CALLS }), async (sequence) => {
      const before = descriptors()
      const objects = machine()
      const answers: unknown[] = []
      // What stands in the arguments for an object of the sample is that object of this machine.
      const twins = new Map<unknown, unknown>(names.map((key) => [sample[key], objects[key]]))
      try {
        for (const [method, given] of sequence) {
          const args = given.map((value) => (twins.has(value) ? twins.get(value) : value))
          answers.push(await call(objects[name], method, args))
          if (!CLASSES.has(name)) look(objects[name])
        }
      } finally {
        for (const value of [...answers.reverse(), ...Object.values(objects).reverse()]) dispose(value)
      }
      // What the event loop watches is let go in its next turns.
      for (let turn = 0; turn < 20 && descriptors() > before; turn++) await new Promise((done) => setTimeout(done, 1))
      expect(descriptors()).toBeLessThanOrEqual(before)
    }),
    { numRuns: RUNS * Math.ceil(own.length / 2) },
  )
})
