/**
 * `npm run check:install -- TARGET`: installs the facade and the package of a target from `build/packages` into an empty
 * folder, and uses them: what must hold on a system before its package is published.
 */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fail, npm, root, run, say } from './command.mjs'

const [target] = process.argv.slice(2)
const packages = join(root, 'build', 'packages')
const tarballs = readdirSync(packages).filter((file) => /^vfio-\d/.test(file) || file.startsWith(`vfio-${target}-`))
if (tarballs.length !== 2) fail(`build/packages has ${tarballs.length} packages for ${target}: npm run pack`)

const folder = mkdtempSync(join(tmpdir(), 'vfio-try-'))
try {
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  const files = tarballs.map((file) => join(packages, file))
  if (npm(['install', '--offline', '--no-audit', '--no-fund', ...files], { cwd: folder }) !== 0)
    fail('npm install failed')
  const told = `
    const { capabilities } = require('vfio')
    const { target, ...rest } = capabilities()
    console.error(target, Object.keys(rest).filter((name) => rest[name].available).join())
    if (target !== '${target}' || !rest.native.available) throw new Error(rest.native.reason ?? 'another target')`
  use(['--eval', told])
  for (const name of ['assign-device', 'driver', 'mdev-in-ts', 'spapr-windows']) {
    use([join('node_modules', 'vfio', 'examples', `${name}.js`)])
  }
  say(`\n${target} works`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function use(args) {
  say(`\n── node ${args[0]}${args.length > 1 ? ' …' : ''}`)
  const status = run(process.execPath, args, { cwd: folder })
  if (status !== 0) {
    rmSync(folder, { recursive: true, force: true })
    fail('it does not work, see above')
  }
}
