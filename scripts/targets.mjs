/** The targets that the addon is built for: what cargo calls them, what npm must know of them, how they are built. */

/** Oldest glibc that binaries for Linux with glibc may need; `ts/native/target.ts` tells users the same. */
export const GLIBC_FLOOR = '2.17'

/** By target, as `target()` of `ts/native/target.ts` names it. Those with `zig` are linked by it anywhere on Linux. */
export const TARGETS = {
  'linux-x64-gnu': { rust: 'x86_64-unknown-linux-gnu', os: 'linux', cpu: 'x64', libc: 'glibc', zig: true },
  'linux-arm64-gnu': { rust: 'aarch64-unknown-linux-gnu', os: 'linux', cpu: 'arm64', libc: 'glibc', zig: true },
  'linux-x64-musl': { rust: 'x86_64-unknown-linux-musl', os: 'linux', cpu: 'x64', libc: 'musl', zig: true },
  'linux-arm64-musl': { rust: 'aarch64-unknown-linux-musl', os: 'linux', cpu: 'arm64', libc: 'musl', zig: true },
  'darwin-x64': { rust: 'x86_64-apple-darwin', os: 'darwin', cpu: 'x64' },
  'darwin-arm64': { rust: 'aarch64-apple-darwin', os: 'darwin', cpu: 'arm64' },
  'win32-x64-msvc': { rust: 'x86_64-pc-windows-msvc', os: 'win32', cpu: 'x64' },
  'win32-arm64-msvc': { rust: 'aarch64-pc-windows-msvc', os: 'win32', cpu: 'arm64' },
}

/** The target of this process, as `target()` of `ts/native/target.ts`. */
export function hostTarget() {
  const { platform, arch } = process
  if (platform === 'linux') {
    process.report.excludeNetwork = true
    const gnu = process.report.getReport().header.glibcVersionRuntime !== undefined
    return `linux-${arch}-${gnu ? 'gnu' : 'musl'}`
  }
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`
}

/** The library that cargo makes for an operating system. */
export function libraryName(os) {
  if (os === 'win32') return 'vfio_napi.dll'
  return os === 'darwin' ? 'libvfio_napi.dylib' : 'libvfio_napi.so'
}

/** What the addon is called in a package. */
export function addonName(target) {
  return `vfio.${target}.node`
}

/** The package of a target; `packageOf()` of `ts/native/target.ts` looks for it. */
export function packageName(target) {
  return `@vfio/${target}`
}

/** What rustc must be told besides the name of the target: shared libraries of musl need its shared libc. */
export function rustFlags(target) {
  return TARGETS[target]?.libc === 'musl' ? '-C target-feature=-crt-static' : ''
}
