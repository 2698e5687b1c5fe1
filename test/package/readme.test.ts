import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { afterEach, expect, it, vi } from 'vitest'

const program = new URL('readme-program.generated.ts', import.meta.url)

afterEach(() => {
  rmSync(program, { force: true })
  vi.restoreAllMocks()
})

it('the program of the README runs as it stands there', async () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const code = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  writeFileSync(program, code)
  const log = vi.spyOn(console, 'log').mockImplementation(() => {})
  await import(/* @vite-ignore */ program.href)
  expect(log).toHaveBeenCalledWith(expect.stringContaining('snd_emu'))
})
