/** Collecting garbage at a moment of the test's choice. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Collects, and gives finalizers their turn, until `done` says so; returns whether it did. */
export async function collectUntil(done: () => boolean, rounds = 50): Promise<boolean> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))
  for (let round = 0; round < rounds && !done(); round++) {
    await turn() // what `done` looked at is kept for the rest of its turn
    collect()
    await turn()
  }
  return done()
}
