import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const source = (path: string): string => fileURLToPath(new URL(`ts/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^vfio$/, replacement: source('index.ts') },
      { find: /^vfio\/uapi$/, replacement: source('uapi/index.ts') },
      { find: /^vfio\/2011$/, replacement: source('vfio2011/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 30_000,
  },
})
