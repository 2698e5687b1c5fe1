/** A goal's figures as bars, in SVG. */
import type { Contest, Goal } from './goal.ts'

const WIDTH = 820
const LEFT = 230
const BAR = 18
const GAP = 6
const COLOURS = { ours: '#2563eb', peer: '#9ca3af' }

/** Draws the contests of a goal; lengths are logarithms of nanoseconds per operation. */
export function plot(goal: Goal): string {
  const parts: string[] = []
  let y = 34
  for (const contest of goal.contests) {
    parts.push(text(10, y, `${contest.name} (ns per operation, logarithmic)`, 'font-weight="bold"'))
    y += 10
    for (const bar of bars(contest)) {
      const colour = bar.name.startsWith('vfio') ? COLOURS.ours : COLOURS.peer
      parts.push(
        text(LEFT - 8, y + 13, bar.name, 'text-anchor="end"'),
        `<rect x="${LEFT}" y="${y}" width="${bar.length.toFixed(1)}" height="${BAR}" fill="${colour}"/>`,
        text(LEFT + bar.length + 6, y + 13, format(bar.value)),
      )
      y += BAR + GAP
    }
    y += 26
  }
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="12">`
  const back = `<rect width="100%" height="100%" fill="white"/>`
  return `${head}\n${back}\n${text(10, 18, `${goal.id}: ${goal.title}`, 'font-size="14"')}\n${parts.join('\n')}\n</svg>\n`
}

function bars({ rows }: Contest): { name: string; value: number; length: number }[] {
  const values = rows.map((row) => Math.log10(Math.max(row.cpuNs, 1e-3)))
  const low = Math.min(...values) - 0.3
  const scale = (WIDTH - LEFT - 90) / Math.max(Math.max(...values) - low, 0.1)
  return rows.map(({ name, cpuNs }, at) => ({ name, value: cpuNs, length: ((values[at] ?? low) - low) * scale }))
}

function text(x: number, y: number, content: string, more = ''): string {
  const safe = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
  return `<text x="${x.toFixed(1)}" y="${y}" ${more}>${safe}</text>`
}

function format(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}
