/** Passes the machine's port on to the page, which is as far as a sandboxed preload script reaches. */
const { ipcRenderer } = require('electron')

ipcRenderer.on('machine', (event) => window.postMessage('machine', '*', event.ports))
ipcRenderer.on('machine-ended', (_event, code) => window.postMessage({ ended: code }, '*'))
