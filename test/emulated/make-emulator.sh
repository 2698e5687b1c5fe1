#!/bin/bash
# make-emulator.sh - obtain an emulator for programs of Linux on arm64, and the libraries that such a Node needs.
#
#   EMULATOR_CACHE   where to put it   (default: ~/.cache/vfio-arm64)
#   EMULATOR_SUITE   Debian suite      (default: trixie)
#   GUEST_MIRROR     Debian mirror     (default: the one this host's apt uses)
#
# Leaves qemu-aarch64 and sysroot/ there. Nothing is installed on the host: apt downloads the packages with private
# state directories and they are only unpacked. Root is not needed.
set -Eeuo pipefail
export LC_ALL=C
CACHE=${EMULATOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vfio-arm64}
SUITE=${EMULATOR_SUITE:-trixie}
HERE=$(cd "$(dirname "$0")" && pwd)
say() { printf 'make-emulator: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
. "$HERE/../guest/debian-packages.sh"

trap 'say "failed at line $LINENO"' ERR
mkdir -p "$CACHE"; CACHE=$(cd "$CACHE" && pwd)
exec 9>"$CACHE/.lock"; flock 9
[ ! -e "$CACHE/complete" ] || { say "already there: $CACHE ($(cat "$CACHE/complete"))"; exit 0; }

A=$CACHE/apt
get() { # ARCHITECTURE DIRECTORY PACKAGE...
  local architecture=$1 to=$2; shift 2
  debian_state "$A" "$architecture" "$SUITE"
  say "downloading $* for $architecture"
  (cd "$A/cache/archives" && apt-get "${APT[@]}" download "$@") >"$A/log/download" 2>&1 || { cat "$A/log/download" >&2; die "download failed"; }
  rm -rf "$to"; mkdir -p "$to/usr/lib"; ln -s usr/lib "$to/lib"
  debian_unpack "$to" "$A"/cache/archives/*.deb
}
get arm64 "$CACHE/sysroot" libc6 libstdc++6 libgcc-s1 libatomic1
get amd64 "$CACHE/root" qemu-user
cp "$CACHE/root/usr/bin/qemu-aarch64" "$CACHE/qemu-aarch64"
rm -rf "$A" "$CACHE/root"
"$CACHE/qemu-aarch64" --version | head -n 1 >"$CACHE/version"
mv "$CACHE/version" "$CACHE/complete"
say "ready in ${SECONDS}s: $(cat "$CACHE/complete"), $(du -sh "$CACHE" | cut -f1)"
