#!/bin/bash
# make-v86-guest.sh - obtain firmware, a kernel and busybox for an i386 guest in v86, and keep them in a cache directory.
#
#   V86_GUEST_CACHE  where to put them   (default: ~/.cache/vfio-v86-guest)
#   V86_GUEST_SUITE  Debian suite        (default: bookworm, the last one with kernels for i386)
#   GUEST_MIRROR     Debian mirror       (default: the one this host's apt uses)
#
# make-v86-guest.sh [--force]
#
# Leaves bios.bin, vgabios.bin, bzImage, busybox and the kernel's UIO modules there, and prints the directory.
set -Eeuo pipefail
export LC_ALL=C
CACHE=${V86_GUEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vfio-v86-guest}
SUITE=${V86_GUEST_SUITE:-bookworm}
HERE=$(cd "$(dirname "$0")" && pwd)
say() { printf 'make-v86-guest: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
. "$HERE/debian-packages.sh"

trap 'say "failed at line $LINENO"' ERR
mkdir -p "$CACHE"; CACHE=$(cd "$CACHE" && pwd)
exec 9>"$CACHE/.lock"; flock 9
if [ "${1:-}" != --force ] && [ -e "$CACHE/complete" ]; then say "already there: $CACHE ($(cat "$CACHE/versions"))"; echo "$CACHE"; exit 0; fi
SECONDS=0
rm -f "$CACHE/complete"

A=$CACHE/apt ROOT=$CACHE/root
debian_state "$A" i386 "$SUITE"
# The plain 686 kernel: v86 has no PAE.
kernel=$(apt-cache "${APT[@]}" show linux-image-686 | awk '/^Depends:/ && match($0, /linux-image-[^ ,]*-686/) {print substr($0, RSTART, RLENGTH)}' | sort -rV | head -n1)
[ -n "$kernel" ] || die "no kernel package found"
say "downloading $kernel, busybox-static and seabios"
(cd "$A/cache/archives" && apt-get "${APT[@]}" download "$kernel" busybox-static seabios) >"$A/log/download" 2>&1 || { cat "$A/log/download" >&2; die "download failed"; }
rm -rf "$ROOT"; mkdir -p "$ROOT"
debian_unpack "$ROOT" "$A"/cache/archives/*.deb
cp "$ROOT/usr/share/seabios/bios.bin" "$ROOT/usr/share/seabios/vgabios-isavga.bin" "$ROOT"/boot/vmlinuz-* "$CACHE/"
cp -L "$ROOT"/bin/busybox "$CACHE/busybox" 2>/dev/null || cp -L "$ROOT"/usr/bin/busybox "$CACHE/busybox"
mv "$CACHE/vgabios-isavga.bin" "$CACHE/vgabios.bin"
mv "$CACHE"/vmlinuz-* "$CACHE/bzImage"
for module in uio uio_pci_generic; do
  found=$(find "$ROOT" -name "$module.ko*" -print -quit)
  case $found in
    *.ko) cp "$found" "$CACHE/";;
    *.xz) xz -dc "$found" >"$CACHE/$module.ko";;
    *) die "no $module module in $kernel";;
  esac
done
rm -rf "$A" "$ROOT"
echo "$kernel" >"$CACHE/versions"
touch "$CACHE/complete"
say "ready in ${SECONDS}s: $CACHE, $(du -sh "$CACHE" | cut -f1)"
echo "$CACHE"
