/** Latencies by size, in buckets of about a sixteenth of their value. */

const STEPS = 16
const BUCKETS = 40 * STEPS

/** Counts nanoseconds. */
export class Histogram {
  readonly counts: Float64Array

  constructor(counts: Float64Array = new Float64Array(BUCKETS)) {
    this.counts = counts
  }

  add(nanoseconds: number): void {
    const bucket = Math.min(Math.floor(Math.log2(Math.max(nanoseconds, 1)) * STEPS), BUCKETS - 1)
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1
  }

  /** Adds what another one has counted. */
  merge(other: Float64Array): void {
    other.forEach((count, at) => {
      this.counts[at] = (this.counts[at] ?? 0) + count
    })
  }

  /** The latency that so many of a hundred do not exceed. */
  percentile(percent: number): number {
    const total = this.counts.reduce((sum, count) => sum + count, 0)
    let rest = (total * percent) / 100
    for (const [bucket, count] of this.counts.entries()) {
      rest -= count
      if (count > 0 && rest <= 0) return 2 ** ((bucket + 0.5) / STEPS)
    }
    return Number.NaN
  }

  /** The buckets that are not empty: latency and count. */
  entries(): [nanoseconds: number, count: number][] {
    return [...this.counts].flatMap((count, bucket): [number, number][] =>
      count > 0 ? [[2 ** ((bucket + 0.5) / STEPS), count]] : [],
    )
  }
}
