/** Programs of the operating system on a machine. */
import { readFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hostFromTopology, DEFAULT_TOPOLOGY, runProgram } from 'vfio'
import { afterAll, describe, expect, it } from 'vitest'
import { fuseLack, needs } from '../needs.ts'

const lack = process.arch === 'x64' ? fuseLack() : `${process.arch} has no tracer`

describe('a program', () => {
  needs(lack === undefined, lack ?? '')
  const folder = mkdtempSync(join(tmpdir(), 'vfio-run-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const script = (text: string): string => {
    const path = join(folder, 'script')
    writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
    return path
  }

  it('finds the machine in /dev and /sys, and the rest as it was', async () => {
    using host = hostFromTopology(DEFAULT_TOPOLOGY)
    const out = join(folder, 'out')
    const program = script(
      `exec > ${out}; ls /dev/vfio/devices /sys/bus/pci/devices; cat /sys/bus/pci/devices/$VFIO_SELFTESTS_BDF/device; test -c /dev/null && test -d /sys/fs && echo rest`,
    )
    await using running = await runProgram(host, program)
    expect(await running.ended).toEqual({ code: 0 })
    const text = readFileSync(out, 'utf8')
    for (const line of ['vfio0', 'vfio1', '0000:00:04.0', '0000:00:05.0', '0x2021', 'rest'])
      expect(text).toContain(`${line}\n`)
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain('vfio-machine')
  })

  it('ends with its code or its signal, and takes what it started along', async () => {
    using host = hostFromTopology({})
    await using failing = await runProgram(host, script('exit 7'))
    expect(await failing.ended).toEqual({ code: 7 })
    await using killed = await runProgram(host, script('kill -KILL $$'))
    expect(await killed.ended).toEqual({ signal: 9 })
    const pidFile = join(folder, 'pid')
    await using leaving = await runProgram(host, script(`sleep 1000 & echo $! > ${pidFile}`))
    expect(await leaving.ended).toEqual({ code: 0 })
    const pid = Number(readFileSync(pidFile, 'utf8'))
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })

  it('is killed by closing', async () => {
    using host = hostFromTopology({})
    const running = await runProgram(host, '/bin/sleep', { args: ['1000'] })
    running.close()
    expect(await running.ended).toEqual({ signal: 9 })
    expect(running.pid).toBe(0)
  })

  it('that cannot be started is named', async () => {
    using host = hostFromTopology({})
    await expect(runProgram(host, '/no/such')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(runProgram(host, '/etc/passwd')).rejects.toMatchObject({ code: 'EACCES' })
    const path = join(folder, 'nonsense')
    writeFileSync(path, 'not a program\0', { mode: 0o755 })
    await using running = await runProgram(host, path)
    expect(await running.ended).toMatchObject({ failure: { code: 'ENOEXEC' } })
  })
})
