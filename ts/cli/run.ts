/** `vfio run`: a program on a simulated machine. */
import { runProgram } from '../index.ts'
import { type Command, UsageError } from './command.ts'
import { machineOf } from './topology-file.ts'

/** Signals to this command that are meant for the program; those of the terminal reach it by themselves. */
const FORWARDED = { SIGTERM: 15, SIGHUP: 1 } as const
/** Exit code of a program that a signal killed, less the signal's number. */
const KILLED = 128
/** Exit code where it never began. */
const NEVER_BEGAN = 127

export const run: Command = {
  name: 'run',
  summary: 'runs a program for /dev/vfio or /dev/iommu on a simulated machine',
  operands: '-- PROGRAM ARGS…',
  most: Number.MAX_SAFE_INTEGER,
  description: [
    'PROGRAM finds the machine in /dev/vfio, /dev/iommu and /sys, and everything else as it is here. It needs no changes, and may be linked statically. VFIO_SELFTESTS_BDF names the ioat, unless it is set.',
    'The exit code is that of PROGRAM, 128 and the number of the signal that killed it, or 127 where it never began. What it leaves running is killed when it ends, and so is all of it when this command dies.',
    'Needs x86-64 Linux, root (CAP_SYS_ADMIN, CAP_SYS_PTRACE), /dev/fuse, and the kernel 6.6 or later where devices are mapped.',
  ],
  options: [
    {
      name: 'topology',
      value: 'FILE',
      summary: 'the machine; default: an mtty parent, an edu at 0000:00:04.0, an ioat at 0000:00:05.0',
    },
  ],
  async run(call) {
    const [program, ...args] = call.operands
    if (program === undefined) throw new UsageError('the program is missing')
    using host = await machineOf(call.text('topology'))
    const running = await runProgram(host, program, { args })
    const ignore = (): void => {}
    process.on('SIGINT', ignore).on('SIGQUIT', ignore)
    for (const name of ['SIGTERM', 'SIGHUP'] as const) process.on(name, () => running.signal(FORWARDED[name]))
    const ended = await running.ended
    if ('failure' in ended) {
      console.error(ended.failure.message)
      return NEVER_BEGAN
    }
    return 'code' in ended ? ended.code : KILLED + ended.signal
  },
}
