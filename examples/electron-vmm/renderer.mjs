/** The page: asks the machine, and shows what it answers. */
import { Client } from './client.mjs'
import { dump } from './dump.mjs'

const PAGE = 4096
const element = (id) => document.getElementById(id)
const tell = (text) => (element('log').textContent += `${text}\n`)

/** @type {Client | undefined} */
let machine

window.addEventListener('message', ({ source, data, ports: [port] }) => {
  if (source !== window) return
  if (data === 'machine' && port !== undefined) void connect(port)
  else if (typeof data?.ended === 'number') {
    tell(`the machine ended with code ${data.ended}`)
    machine?.close(new Error('the machine has ended'))
    machine = undefined
  }
})

on('serial', 'submit', async (client) =>
  tell(`ttyS1: ${(await client.ask('send', { text: element('text').value })).echo}`),
)
on('dma', 'click', async (client) => {
  const bytes = crypto.getRandomValues(new Uint8Array(PAGE))
  await client.ask('write', { at: 0, bytes })
  await client.ask('copy', { from: 0, to: PAGE, length: PAGE })
  const copied = await client.ask('read', { at: PAGE, length: 64 })
  tell(`the device copied a page; its first bytes:\n${dump(copied.bytes, PAGE)}`)
})
on('stray', 'click', async (client) =>
  tell((await client.ask('copy', { from: 0x0fff_0000, to: 0, length: 16 })).faults),
)
on('crash', 'click', (client) => client.ask('crash', {}))

async function connect(port) {
  machine = new Client(port)
  port.start()
  const { versions, externalBuffers, memory } = await machine.ask('describe', {})
  tell(
    `connected: Node ${versions.node}, Electron ${versions.electron ?? 'none'}; external buffers ${externalBuffers}; guest memory ${memory}`,
  )
}

function on(id, event, action) {
  element(id).addEventListener(event, (what) => {
    what.preventDefault()
    if (machine === undefined) tell('there is no machine')
    else action(machine).catch((error) => tell(`refused: ${error.message}`))
  })
}
