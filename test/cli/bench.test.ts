/** `vfio bench`: every engine runs, its figures have their shape, and what makes no sense is refused before anything runs. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Shell } from './shell.ts'

const QUICK = ['--time', '0.1', '--size', '1m', '--json']

describe('vfio bench', () => {
  it.each([
    ["the device's view", []],
    ['batches, half of them writes', ['--depth', '16', '--bs', '64', '--read', '50']],
    [
      'few large mappings',
      ['--mappings', '3', '--page-size', '64k', '--fragmentation', '0', '--pattern', 'sequential'],
    ],
    ['the ring, polled', ['--engine', 'ring', '--depth', '8', '--bs', '1k']],
    ['the ring, by MSI-X', ['--engine', 'ring', '--completion', 'msix', '--operation', 'crc32c', '--pattern', 'hot']],
    ['a ring that fills', ['--engine', 'ring', '--operation', 'fill', '--depth', '512', '--bs', '32']],
    ['a ring that compares', ['--engine', 'ring', '--operation', 'compare']],
    ['mapping and unmapping', ['--engine', 'map', '--bs', '64k']],
    ['mapping and unmapping in batches', ['--engine', 'map', '--depth', '32']],
  ])('measures %s', async (_, args) => {
    await using shell = new Shell()
    const { code, stdout, stderr } = await shell.vfio('bench', ...QUICK, ...args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const report = JSON.parse(stdout) as Record<string, unknown>
    expect(report).toMatchObject({ job: { size: 1 << 20, threads: 1 }, machine: { node: process.version } })
    for (const figure of ['accesses', 'accessesPerSecond', 'bytesPerSecond', 'ratioToMemcpy']) {
      expect(report[figure]).toBeGreaterThan(0)
    }
    const { p50, p99, max } = report['latency'] as Record<string, number>
    expect(p50).toBeGreaterThan(0)
    expect(p99).toBeGreaterThanOrEqual(p50 ?? 0)
    expect(max).toBeGreaterThanOrEqual(p99 ?? 0)
  })

  it.each([
    ['views', ['--bs', '512']],
    ['mappings', ['--engine', 'map', '--depth', '8']],
  ])('shares %s between threads', async (_, args) => {
    await using shell = new Shell()
    const { code, stdout, stderr } = await shell.vfio('bench', ...QUICK, '--threads', '3', ...args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({ job: { threads: 3 }, accessesPerSecond: expect.any(Number) as number })
  })

  it('writes a report with plots, and a few lines', async () => {
    await using shell = new Shell()
    const path = shell.file('report.html', '')
    const { code, stdout } = await shell.vfio('bench', '--time', '0.1', '--size', '1m', '--html', path)
    expect(code).toBe(0)
    expect(stdout).toMatch(/accesses\/s, .*\/s, [0-9.]+ of a memcpy's\n.*p50 .*p99\.9 .*max /)
    const page = readFileSync(path, 'utf8')
    expect(page).toMatch(/^<!doctype html>/)
    expect(page.match(/<svg /g)).toHaveLength(2)
  })

  it.each([
    [['--bs', '0'], /--bs is a size from 1/],
    [['--bs', '1z'], /--bs is a size/],
    [['--size', '1m', '--bs', '2m'], /--bs is a size from 1 to 1048576/],
    [['--depth', '0'], /--depth is a whole number from 1 to 512/],
    [['--depth', '1.5'], /--depth is a whole number/],
    [['--threads', ''], /--threads is a whole number/],
    [['--read', '101'], /--read is a whole number from 0 to 100/],
    [['--mappings', '99999999'], /--mappings is a whole number/],
    [['--time', 'NaN'], /--time is a number/],
    [['--engine', 'warp'], /--engine takes handle, ring, map/],
    [['--engine', 'ring', '--threads', '2'], /--engine ring has one thread/],
    [['--engine', 'map', '--bs', '100'], /whole pages/],
    [['extra'], /'extra' is too much/],
  ])('refuses %j', async (args, message) => {
    await using shell = new Shell()
    const { code, stdout, stderr } = await shell.vfio('bench', ...args)
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toMatch(message)
  })
})
