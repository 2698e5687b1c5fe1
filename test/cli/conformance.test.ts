import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { Shell } from './shell.ts'

const RECORDINGS = fileURLToPath(new URL('../conformance/x86/', import.meta.url))

describe('vfio conformance', () => {
  it('plays a file and tells what became of each scenario', async () => {
    await using shell = new Shell()
    const report = join(shell.home, 'report.json')
    const { code, stdout } = await shell.vfio('conformance', join(RECORDINGS, 'type1v2.json'), '--report', report)
    const { passed, failed, scenarios } = JSON.parse(readFileSync(report, 'utf8')) as Record<string, unknown>
    expect([code, failed]).toEqual([0, 0])
    expect(stdout.trimEnd().split('\n').at(-1)).toBe(`${String(passed)} passed, 0 failed, 0 skipped`)
    expect(scenarios).toHaveLength(Number(passed))
  })

  it('shows the step that differs, and ends with the code for no', async () => {
    await using shell = new Shell()
    const file = shell.file('area.json', [
      {
        name: 'area/version',
        about: 'the version is wrong',
        env: {},
        bufs: {},
        steps: [
          { op: 'open', path: '/dev/vfio/vfio', as: 'c', expect: { ret: 'fd' } },
          { op: 'ioctl', on: 'c', req: 'VFIO_GET_API_VERSION', expect: { ret: 7 } },
        ],
      },
    ])
    const { code, stdout } = await shell.vfio('conformance', file, '--explain')
    expect([code, stdout.trimEnd().split('\n').at(-1)]).toEqual([4, '0 passed, 1 failed, 0 skipped'])
    expect(stdout).toContain('step 1')
  })

  it.each(['{', '[]', '[{"name":"a/b","about":"","env":{},"bufs":{},"steps":[{"op":"dance","expect":{}}]}]'])(
    'counts %s as a failure',
    async (content) => {
      await using shell = new Shell()
      const { code, stdout } = await shell.vfio('conformance', shell.file('area.json', content))
      expect([code === 0, stdout.trimEnd().split('\n').at(-1)]).toEqual([false, '0 passed, 1 failed, 0 skipped'])
    },
  )
})
