/**
 * Runs the main process of an application without Electron: `node electron-standin.mjs MAIN`.
 *
 * What the application takes of Electron is stood in for, as its documentation has it: `ready` comes once the main module has
 * been evaluated, a utility process is a child of Node, its ports are bridged. Instead of the page somebody plays who asks the
 * machine, crashes it and asks the next one; what came of it is printed as JSON.
 */
import { fork } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { accessSync } from 'node:fs'
import { register } from 'node:module'
import process from 'node:process'
import { fileURLToPath, pathToFileURL } from 'node:url'

const SHIM = fileURLToPath(new URL('electron-port.mjs', import.meta.url))

class Port extends EventEmitter {
  peer
  postMessage(data) {
    setImmediate(() => this.peer.emit('message', { data }))
  }
  addEventListener(type, listener) {
    this.on(type, listener)
  }
  start() {}
}

class MessageChannelMain {
  port1 = new Port()
  port2 = new Port()
  constructor() {
    this.port1.peer = this.port2
    this.port2.peer = this.port1
  }
}

class UtilityProcess extends EventEmitter {
  #child
  constructor(path) {
    super()
    this.#child = fork(path, { serialization: 'advanced', execArgv: ['--import', pathToFileURL(SHIM).href] })
    this.#child.on('exit', (code) => this.emit('exit', code))
  }
  postMessage(_message, [port]) {
    port.on('message', ({ data }) => this.#child.connected && this.#child.send(data))
    this.#child.on('message', (data) => port.postMessage(data))
  }
  kill() {
    return this.#child.kill()
  }
}

class BrowserWindow extends EventEmitter {
  webContents = {
    postMessage: (_channel, _message, [port]) => page.emit('port', port),
    send: (_channel, code) => page.emit('ended', code),
  }
  #destroyed = false
  constructor({ webPreferences }) {
    super()
    accessSync(webPreferences.preload)
    page.emit('window', this)
  }
  async loadFile(path) {
    accessSync(path)
  }
  isDestroyed() {
    return this.#destroyed
  }
  close() {
    this.#destroyed = true
    this.emit('closed')
    app.emit('window-all-closed')
  }
}

const page = new EventEmitter()
const app = new EventEmitter()
const ready = Promise.withResolvers?.() ?? resolvers()
app.whenReady = () => ready.promise
app.quit = () => page.emit('quit')
globalThis.electronStandIn = {
  app,
  BrowserWindow,
  MessageChannelMain,
  utilityProcess: { fork: (path) => new UtilityProcess(path) },
}

const electron = `export const { ${Object.keys(globalThis.electronStandIn).join(', ')} } = globalThis.electronStandIn`
const asUrl = (code) => `data:text/javascript,${encodeURIComponent(code)}`
register(
  asUrl(`export const resolve = (name, context, next) =>
    name === 'electron' ? { url: ${JSON.stringify(asUrl(electron))}, shortCircuit: true } : next(name, context)`),
)

const main = pathToFileURL(process.argv[2])
const { Client } = await import(new URL('client.mjs', main))
const once = (event) => new Promise((resolve) => page.once(event, resolve))
const [window, firstPort] = [once('window'), once('port')]
await import(main)
ready.resolve()

const told = []
const first = new Client(await firstPort)
told.push((await first.ask('send', { text: 'one' })).echo)
await new Promise((resolve) => setTimeout(resolve, 2100)) // younger ones are not started over
const [secondPort, ended] = [once('port'), once('ended')]
first.ask('crash', {}).catch((error) => told.push(error.message))
const code = await ended
first.close(new Error('the machine has ended'))
told.push(code)
const second = new Client(await secondPort)
told.push((await second.ask('send', { text: 'two' })).echo)
const quit = once('quit')
;(await window).close()
await quit
console.log(JSON.stringify(told))

function resolvers() {
  let resolve
  const promise = new Promise((take) => (resolve = take))
  return { promise, resolve }
}
