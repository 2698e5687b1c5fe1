/** What this process can load: platform, processor and C library, in one word. */

/** The targets that releases have a binary for, each in a package of its own; `scripts/targets.mjs` says how they are made. */
export const PREBUILT: readonly string[] = [
  'linux-x64-gnu',
  'linux-arm64-gnu',
  'linux-x64-musl',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
  'win32-arm64-msvc',
]

/** The oldest glibc that the binaries of `linux-*-gnu` load with. */
export const GLIBC_FLOOR = '2.17'

/** The name of the target that the addon must have been built for, such as `'linux-x64-gnu'`. */
export function target(): string {
  const { platform, arch } = process
  if (platform === 'linux') return `linux-${arch}-${isGlibc() ? 'gnu' : 'musl'}`
  return platform === 'win32' ? `win32-${arch}-msvc` : `${platform}-${arch}`
}

/** The package that has the binary of a target. */
export function packageOf(name: string): string {
  return `@vfio/${name}`
}

function isGlibc(): boolean {
  // The part about the network would look up the name of each peer.
  const report = process.report as typeof process.report & { excludeNetwork?: boolean }
  const { excludeNetwork } = report
  report.excludeNetwork = true
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
  report.excludeNetwork = excludeNetwork ?? false
  return header?.glibcVersionRuntime !== undefined
}
