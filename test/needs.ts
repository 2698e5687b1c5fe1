import { closeSync, openSync, readFileSync } from 'node:fs'
import { beforeEach } from 'vitest'

/** Skips the tests of the suite around it, with the reason, where the machine lacks something. */
export function needs(there: boolean, reason: string): void {
  beforeEach((ctx) => {
    if (!there) ctx.skip(reason)
  })
}

/** Skips the tests of the suite around it where the system is not Linux. */
export function needsLinux(what: string): void {
  needs(process.platform === 'linux', `${process.platform} has no ${what}`)
}

/** Why nothing can be mounted here; undefined: it can. */
export function fuseLack(): string | undefined {
  if (process.platform !== 'linux') return `${process.platform} has no FUSE`
  try {
    closeSync(openSync('/dev/fuse', 'r+'))
  } catch (error) {
    return `/dev/fuse cannot be opened here (${(error as Error).message})`
  }
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  const CAP_SYS_ADMIN = 1n << 21n
  return (BigInt(`0x${capabilities}`) & CAP_SYS_ADMIN) === 0n ? 'mounting needs CAP_SYS_ADMIN' : undefined
}

/** Skips the tests of the suite around it where nothing can be mounted. */
export function needsFuse(): void {
  const lack = fuseLack()
  needs(lack === undefined, lack ?? '')
}
