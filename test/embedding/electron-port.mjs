/**
 * Loaded before a utility process' program, as `--import`: gives it the `process.parentPort` that Electron's documentation
 * describes, and carries the messages over the channel of a child of Node.
 */
import { EventEmitter } from 'node:events'
import process from 'node:process'

class MessagePortMain extends EventEmitter {
  #started = false
  #waiting = []

  constructor() {
    super()
    process.on('message', (data) => (this.#started ? this.emit('message', { data }) : this.#waiting.push(data)))
    process.on('disconnect', () => this.emit('close'))
  }

  postMessage(message) {
    process.send(message)
  }

  start() {
    this.#started = true
    for (const data of this.#waiting.splice(0)) this.emit('message', { data })
  }
}

const parentPort = new EventEmitter()
process.parentPort = parentPort
const port = new MessagePortMain()
parentPort.once('newListener', () => setImmediate(() => parentPort.emit('message', { data: 'connect', ports: [port] })))
