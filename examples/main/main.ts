/**
 * The main job: the stories that show what the package does, one behind the other.
 *
 *     npm start -- [FILE]
 */
import { accessSync, constants } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { assignDevice } from './assign-device.ts'
import { dmaFigures } from './dma-figures.ts'
import { mttyStory } from './mdev-mtty.ts'

const file = process.argv[2] ?? fileURLToPath(new URL('../../../README.md', import.meta.url))

try {
  accessSync(file, constants.R_OK)
} catch (error) {
  console.error(`usage: npm start -- [FILE]\n${(error as Error).message}`)
  process.exit(1)
}

function chapter(title: string): void {
  console.log(`\n── ${title} ${'─'.repeat(Math.max(3, 100 - title.length))}\n`)
}

chapter('A device of the host, given to a user (the usage example of the VFIO document)')
await assignDevice(file)
chapter('A mediated device (the story of the mediated-device document)')
await mttyStory()
chapter('What DMA costs here, beside memcpy')
dmaFigures()
