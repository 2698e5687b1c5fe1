/**
 * The main process: a window, and beside it the utility process that hosts the machine. The two talk through a channel of
 * their own, so nothing of the machine's traffic passes through here. Should the machine crash, the window stays and gets
 * a new one.
 */
import { fileURLToPath } from 'node:url'
import { app, BrowserWindow, MessageChannelMain, utilityProcess } from 'electron'

/** @param {string} name */
const here = (name) => fileURLToPath(new URL(name, import.meta.url))
/** A machine that ends sooner than this has not run at all: starting it over and over would help nobody. */
const SHORTEST_LIFE_MS = 2000

app.on('window-all-closed', () => app.quit())
// Not awaited at the top: Electron is ready once this module has been evaluated, and no sooner.
void app.whenReady().then(openWindow)

/** Opens the window, and starts the machine for it. */
async function openWindow() {
  const window = new BrowserWindow({
    width: 900,
    height: 640,
    webPreferences: { preload: here('preload.cjs'), contextIsolation: true, sandbox: true, nodeIntegration: false },
  })
  await window.loadFile(here('index.html'))
  startMachine(window)
}

/**
 * Starts the machine and hands the ends of a new channel to it and to the window.
 * @param {BrowserWindow} window
 */
function startMachine(window) {
  const began = Date.now()
  const machine = utilityProcess.fork(here('vmm.mjs'), [], { serviceName: 'machine' })
  const { port1, port2 } = new MessageChannelMain()
  machine.postMessage('connect', [port1])
  window.webContents.postMessage('machine', undefined, [port2])
  machine.once('exit', (code) => {
    if (window.isDestroyed()) return
    window.webContents.send('machine-ended', code)
    if (Date.now() - began >= SHORTEST_LIFE_MS) startMachine(window)
  })
  window.once('closed', () => machine.kill())
}
