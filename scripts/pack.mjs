/**
 * `npm run pack`: writes the tarballs of a release to `build/packages`: the facade, which is all TypeScript's doing, and for
 * each target a package with its binary, which the facade has as an optional dependency.
 *
 * npm run pack                          the facade, and the packages that this machine can build: on Linux those for
 *                                       glibc (x64 and arm64), elsewhere that of this machine
 * npm run pack -- --target TARGET …     only the packages of these targets
 * npm run pack -- --facade              only the facade, for the packages that are in `build/packages` already
 */
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { buildTs } from './build-ts.mjs'
import { fail, npm, root, run, say } from './command.mjs'
import { compareVersions, glibcNeeded, readElf } from './elf.mjs'
import { install } from './install.mjs'
import { addonName, GLIBC_FLOOR, hostTarget, libraryName, packageName, rustFlags, TARGETS } from './targets.mjs'
import { addRustTarget, zigbuild } from './zig.mjs'

const OUTPUT = join(root, 'build', 'packages')
const STAGING = join(root, 'build', 'staging')
const LICENSES = ['LICENSE-APACHE', 'LICENSE-MIT']
/** What the facade consists of besides its `package.json`. */
const DOCUMENTS = ['README.md', 'CHANGELOG.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', ...LICENSES]
/** Files in `docs/` that build the site. */
const NO_GUIDES = new Set(['package.json', 'package-lock.json', 'tsconfig.json', 'typedoc.json'])
const MACHINES = { x64: 62, arm64: 183 }

const { values } = parseArgs({ options: { target: { type: 'string', multiple: true }, facade: { type: 'boolean' } } })
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const everything = values.target === undefined && values.facade !== true
for (const target of values.target ?? []) {
  if (!Object.hasOwn(TARGETS, target)) fail(`unknown target ${target}; there are ${Object.keys(TARGETS).join(', ')}`)
}

if (everything) rmSync(OUTPUT, { recursive: true, force: true })
mkdirSync(OUTPUT, { recursive: true })
for (const target of values.target ?? (everything ? targetsHere() : [])) packTarget(target)
if (everything || values.facade === true) packFacade()
rmSync(STAGING, { recursive: true, force: true })

/** What this machine can build and link. */
function targetsHere() {
  const host = hostTarget()
  if (process.platform !== 'linux') return [host]
  const here = ['linux-x64-gnu', 'linux-arm64-gnu']
  return here.includes(host) || !Object.hasOwn(TARGETS, host) ? here : [...here, host]
}

/** Builds the binary of a target and packs it. */
function packTarget(target) {
  const { os, cpu, libc } = TARGETS[target]
  const binary = buildTarget(target)
  checkBinary(binary, target)
  stage({
    name: packageName(target),
    version: manifest.version,
    description: `The native part of vfio for ${target}`,
    license: manifest.license,
    engines: manifest.engines,
    os: [os],
    cpu: [cpu],
    ...(libc === undefined ? {} : { libc: [libc] }),
    type: 'commonjs',
    main: addonName(target),
    exports: `./${addonName(target)}`,
    files: [addonName(target)],
    publishConfig: { access: 'public' },
  })
  copyFileSync(binary, join(STAGING, addonName(target)))
  const text = `# ${packageName(target)}\n\nThe native part of [vfio](https://www.npmjs.com/package/vfio) for ${target}. Install \`vfio\`; npm adds this package where it fits.\n`
  writeFileSync(join(STAGING, 'README.md'), text)
  for (const file of LICENSES) copyFileSync(join(root, file), join(STAGING, file))
  pack()
}

function buildTarget(target) {
  const { rust, zig, os } = TARGETS[target]
  say(`\nBuilding the addon for ${target} (about a minute the first time) …`)
  if (zig && process.platform === 'linux') zigbuild(target)
  else {
    addRustTarget(rust)
    const env = rustFlags(target) === '' ? {} : { RUSTFLAGS: rustFlags(target) }
    const status = run('cargo', ['build', '--package', 'vfio-napi', '--release', '--target', rust], { env })
    if (status !== 0) fail(`cargo build failed for ${target}, see above`)
  }
  const folder = process.env['CARGO_TARGET_DIR'] ?? join(root, 'target')
  return join(folder, rust, 'release', libraryName(os))
}

/** Makes sure that a binary for Linux is for its processor, and loads with the oldest glibc that it is promised for. */
function checkBinary(binary, target) {
  const { os, cpu, libc } = TARGETS[target]
  if (os !== 'linux') return
  if (readElf(binary).machine !== MACHINES[cpu]) fail(`${binary} is not for ${cpu}`)
  const needed = glibcNeeded(binary)
  if (libc === 'musl' && needed !== undefined) fail(`${binary} needs glibc ${needed}, and is for musl`)
  if (libc === 'glibc' && needed !== undefined && compareVersions(needed, GLIBC_FLOOR) > 0) {
    fail(`${binary} needs glibc ${needed}; ${GLIBC_FLOOR} is promised`)
  }
  say(`${target}: for ${cpu}, needs ${needed === undefined ? 'no glibc' : `glibc ${needed}`}`)
}

/** Packs what is TypeScript's, with the packages that are there as optional dependencies. */
function packFacade() {
  install()
  buildTs()
  const { private: _clone, scripts: _scripts, devDependencies: _tools, ...rest } = manifest
  const there = Object.keys(TARGETS).filter((target) => existsSync(join(OUTPUT, tarball(packageName(target)))))
  if (there.length === 0) fail('there is no package with a binary in build/packages: run "npm run pack"')
  const contents = facadeFiles()
  const pointers = folderPointers()
  stage({
    ...rest,
    files: [...new Set([...contents, ...pointers].map(([, path]) => path.split('/')[0]))].filter(
      (path) => path !== 'README.md',
    ),
    optionalDependencies: Object.fromEntries(there.map((target) => [packageName(target), manifest.version])),
  })
  for (const [source, path] of contents) {
    mkdirSync(dirname(join(STAGING, path)), { recursive: true })
    cpSync(join(root, source), join(STAGING, path), {
      recursive: true,
      filter: (file) => !file.endsWith('.tsbuildinfo'),
    })
  }
  for (const [text, path] of pointers) {
    mkdirSync(dirname(join(STAGING, path)), { recursive: true })
    writeFileSync(join(STAGING, path), text)
  }
  pack()
  say(`It depends on ${there.map(packageName).join(', ')}`)
}

/** Pairs of a path in the repository and one in the package. */
function facadeFiles() {
  const guides = readdirSync(join(root, 'docs')).filter((file) => /\.(md|json)$/.test(file) && !NO_GUIDES.has(file))
  return [
    ['dist', 'dist'],
    ...DOCUMENTS.map((file) => [file, file]),
    ...guides.map((file) => [`docs/${file}`, `docs/${file}`]),
    ...exampleFiles().flatMap((file) => {
      const compiled = file.replace(/\.ts$/, '.js')
      const source = [`examples/${file}`, `examples/${file}`]
      return compiled === file ? [source] : [source, [`build/examples/${compiled}`, `examples/${compiled}`]]
    }),
    // What makes the guest of the machine in v86 is the tests' as well.
    ...['make-v86-guest.sh', 'debian-packages.sh'].map((file) => [
      `test/guest/${file}`,
      `examples/v86-machine/${file}`,
    ]),
  ]
}

/** The files of the examples, without the main job. */
function exampleFiles() {
  const folder = join(root, 'examples')
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .filter((file) => !/^main\/|(^|\/)(node_modules\/|tsconfig\.json$)/.test(file))
}

/** Pairs of content and path: what looks for `vfio/uapi` as a folder, as it was done before `exports`, finds it. */
function folderPointers() {
  return Object.entries(manifest.exports)
    .filter(([name, target]) => name !== '.' && typeof target === 'object')
    .map(([name, { types, default: main }]) => {
      const pointer = { type: 'module', main: `../${main.slice(2)}`, types: `../${types.slice(2)}` }
      return [`${JSON.stringify(pointer, undefined, 2)}\n`, `${name.slice(2)}/package.json`]
    })
}

/** Empties the staging folder and puts a package.json there. */
function stage(content) {
  rmSync(STAGING, { recursive: true, force: true })
  mkdirSync(STAGING, { recursive: true })
  writeFileSync(join(STAGING, 'package.json'), `${JSON.stringify(content, undefined, 2)}\n`)
}

function pack() {
  const { name } = JSON.parse(readFileSync(join(STAGING, 'package.json'), 'utf8'))
  const args = ['pack', '--ignore-scripts', '--silent', '--pack-destination', OUTPUT]
  if (npm(args, { cwd: STAGING, stdio: ['ignore', 'ignore', process.stderr] }) !== 0)
    fail(`npm could not pack ${name}, see above`)
  say(`build/packages/${tarball(name)}`)
}

/** What npm calls the tarball of a package. */
function tarball(name) {
  return `${name.replace('@', '').replace('/', '-')}-${manifest.version}.tgz`
}
