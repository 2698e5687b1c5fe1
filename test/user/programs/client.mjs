// Connects, lends memory, enables an interrupt, and waits to be killed.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [, , dist, path] = process.argv
const { connect, HostMemory } = await import(pathToFileURL(join(dist, 'index.js')).href)
const device = await connect(path)
const memory = HostMemory.allocate(1 << 20, { kind: 'memfd' })
memory.writeU32(16, 0xbeef)
device.mapDma({ iova: 0, memory, read: true, write: true })
device.irq(0).enable(1)
console.log('ready')
setInterval(() => device.region(0).readU8(0), 1)
