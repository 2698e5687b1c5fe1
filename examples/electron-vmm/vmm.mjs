/**
 * The utility process: hosts the machine and answers whoever holds the other end of the channel.
 *
 * In Electron the channel's port comes from the main process. As a child of plain Node (`fork` with
 * `serialization: 'advanced'`), which is how the tests run it, the process' own channel carries the same messages.
 */
import process from 'node:process'
import { Machine } from './machine.mjs'

const machine = new Machine()
process.once('exit', () => machine.close())

/** @type {{ once(type: 'message', listener: (event: { ports: any[] }) => void): void } | undefined} */
const parent = /** @type {any} */ (process).parentPort
if (parent !== undefined) {
  parent.once('message', ({ ports: [port] }) => {
    port.on('message', (/** @type {{ data: unknown }} */ { data }) => port.postMessage(machine.answer(data)))
    port.on('close', () => process.exit(0))
    port.start()
  })
} else {
  process.on('message', (message) => process.send?.(machine.answer(message)))
  process.on('disconnect', () => process.exit(0))
}
