/** Totals of test runs: how many passed, failed and were skipped. */

/** Nothing run yet. */
export const NONE = { passed: 0, failed: 0, skipped: 0 }

/** Adds totals up. */
export function sum(...all) {
  return all.reduce(
    (left, right) => ({
      passed: left.passed + right.passed,
      failed: left.failed + right.failed,
      skipped: left.skipped + right.skipped,
    }),
    NONE,
  )
}

/** The line by which every run ends. */
export function line({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

/** Reads the totals of `cargo test` from its output: one `test result:` line per test binary. */
export function cargoTotals(output) {
  const pattern = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm
  return sum(
    NONE,
    ...[...output.matchAll(pattern)].map(([, passed, failed, skipped]) => ({
      passed: Number(passed),
      failed: Number(failed),
      skipped: Number(skipped),
    })),
  )
}
