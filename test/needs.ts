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
