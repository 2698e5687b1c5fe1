#!/bin/bash
# make-emulator.sh - obtain an emulator for programs of Linux on arm64, and the libraries that such a Node needs.
#
#   EMULATOR_CACHE   where to put it   (default: ~/.cache/vfio-arm64)
#   EMULATOR_SUITE   Debian suite      (default: trixie)
#   EMULATOR_MIRROR  Debian mirror     (default: the one this host's apt uses)
#
# Leaves qemu-aarch64 and sysroot/ there. Nothing is installed on the host: apt downloads the packages with a private
# state directory and they are only unpacked. Root is not needed.
set -Eeuo pipefail
export LC_ALL=C
CACHE=${EMULATOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vfio-arm64}
SUITE=${EMULATOR_SUITE:-trixie}
say() { printf 'make-emulator: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
trap 'say "failed at line $LINENO"' ERR

mkdir -p "$CACHE"; CACHE=$(cd "$CACHE" && pwd)
exec 9>"$CACHE/.lock"; flock 9
[ ! -e "$CACHE/complete" ] || { say "already there: $CACHE ($(cat "$CACHE/complete"))"; exit 0; }

mirror=${EMULATOR_MIRROR:-}
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
  awk -v s="$(. /etc/os-release; echo "${VERSION_CODENAME:-}")" '$2==s && $3=="main" {print $1; exit}') || true
[ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
  awk '/^deb /{for(i=2;i<=NF;i++) if($i ~ /:\/\// && $(i+1) !~ /security/){print $i; exit}} /^URIs:/ && $2 !~ /security/ {print $2; exit}') || true
[ -n "$mirror" ] || die "no Debian mirror found in this host's apt configuration; set EMULATOR_MIRROR"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || die "$keyring is missing (package debian-archive-keyring)"

A=$CACHE/apt; rm -rf "$A" "$CACHE/root" "$CACHE/sysroot"
mkdir -p "$A"/{lists/partial,cache/archives/partial,etc/preferences.d,log,debs} "$CACHE"/{root,sysroot}
: >"$A/status"; : >"$A/extended_states"
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "${mirror%/}" "$SUITE" >"$A/etc/sources.list"
# Host proxy and transport settings stay in force: only these items are replaced.
O=(-q -o "Dir::Etc::sourcelist=$A/etc/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::Etc::preferencesparts=$A/etc/preferences.d" -o Dir::Etc::preferences=/dev/null
  -o "Dir::State=$A" -o "Dir::State::Lists=$A/lists" -o "Dir::State::status=$A/status"
  -o "Dir::State::extended_states=$A/extended_states" -o "Dir::Cache=$A/cache" -o "Dir::Log=$A/log"
  -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64
  -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User= -o Debug::NoLocking=1)
say "package lists from ${mirror%/} ($SUITE)"
apt-get "${O[@]}" update >"$A/log/update" 2>&1 || { cat "$A/log/update" >&2; die "apt-get update failed"; }
say "downloading qemu-user and libraries for arm64"
(cd "$A/debs" && apt-get "${O[@]}" download qemu-user libc6:arm64 libstdc++6:arm64 libgcc-s1:arm64 libatomic1:arm64) >"$A/log/download" 2>&1 ||
  { cat "$A/log/download" >&2; die "download failed"; }
mkdir -p "$CACHE"/sysroot/usr/{lib,bin}; ln -s usr/lib "$CACHE/sysroot/lib"
for deb in "$A"/debs/*.deb; do
  case $deb in *_arm64.deb) to=$CACHE/sysroot;; *) to=$CACHE/root;; esac
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$to" --keep-directory-symlink --exclude './usr/share/*'
done
cp "$CACHE/root/usr/bin/qemu-aarch64" "$CACHE/qemu-aarch64"
"$CACHE/qemu-aarch64" --version | head -n 1 >"$CACHE/version"
rm -rf "$A" "$CACHE/root"
mv "$CACHE/version" "$CACHE/complete"
say "ready in ${SECONDS}s: $(cat "$CACHE/complete"), $(du -sh "$CACHE" | cut -f1)"
