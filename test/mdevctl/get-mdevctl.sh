#!/bin/bash
# get-mdevctl.sh - obtain Debian's mdevctl, unmodified, with the libraries that it runs on, and keep them in a cache directory.
# Prints the directory; there, `mdevctl` is a launcher.
#
#   MDEVCTL_CACHE   where to put it   (default: ~/.cache/vfio-mdevctl)
#   MDEVCTL_SUITE   Debian suite      (default: trixie, whose mdevctl is 1.4.0)
#   MDEVCTL_MIRROR  Debian mirror     (default: the one this host's apt uses)
#
# Nothing is installed: apt downloads the packages with a state directory of its own, and they are only unpacked. Root is not
# needed. Host tools used: apt-get, dpkg-deb, bash, coreutils, sed.
set -Eeuo pipefail
export LC_ALL=C
CACHE=${MDEVCTL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vfio-mdevctl}
SUITE=${MDEVCTL_SUITE:-trixie}
say() { printf 'get-mdevctl: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

[ "$(uname -m)" = x86_64 ] || die "no launcher for $(uname -m) yet"
mkdir -p "$CACHE"; CACHE=$(cd "$CACHE" && pwd)
exec 9>"$CACHE/.lock"; flock 9
if [ -e "$CACHE/complete" ]; then echo "$CACHE"; exit 0; fi

mirror=${MDEVCTL_MIRROR:-}
if [ -z "$mirror" ]; then
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -nE -e 's/^URIs:[[:space:]]*//p' -e 's/^deb (\[[^]]*\] )?([^ ]+) .*/\2/p' | tr ' ' '\n' | grep -E '/debian/?$' | head -n1) || true
fi
[ -n "$mirror" ] || die "no Debian mirror found in this host's apt configuration; set MDEVCTL_MIRROR"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -e "$keyring" ] || die "$keyring is missing (package debian-archive-keyring)"

A=$CACHE/apt ROOT=$CACHE/root
rm -rf "$A" "$ROOT"; mkdir -p "$A"/{lists/partial,cache/archives/partial,log,preferences.d} "$ROOT"/usr/{bin,sbin,lib,lib64}
: >"$A/status"; : >"$A/extended_states"
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "${mirror%/}" "$SUITE" >"$A/sources.list"
# Proxy and transport settings of the host stay in force: only these items are replaced.
O=(-q -o "Dir::Etc::sourcelist=$A/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o Dir::Etc::preferences=/dev/null -o "Dir::Etc::preferencesparts=$A/preferences.d"
  -o "Dir::State=$A" -o "Dir::State::Lists=$A/lists" -o "Dir::State::status=$A/status"
  -o "Dir::State::extended_states=$A/extended_states" -o "Dir::Cache=$A/cache" -o "Dir::Log=$A/log"
  -o APT::Architecture=amd64 -o APT::Architectures=amd64 -o Acquire::Languages=none -o APT::Sandbox::User=
  -o Debug::NoLocking=1 -o DPkg::Options::=)
say "downloading mdevctl from ${mirror%/} ($SUITE)"
apt-get "${O[@]}" update >"$A/log/update" 2>&1 || { cat "$A/log/update" >&2; die "apt-get update failed"; }
(cd "$A/cache/archives" && apt-get "${O[@]}" download mdevctl libc6 libgcc-s1) >"$A/log/download" 2>&1 ||
  { cat "$A/log/download" >&2; die "the download failed"; }
for d in bin sbin lib lib64; do ln -s "usr/$d" "$ROOT/$d"; done
for f in "$A"/cache/archives/*.deb; do
  dpkg-deb --fsys-tarfile "$f" | tar -x -C "$ROOT" --keep-directory-symlink --exclude './usr/share/doc/*' --exclude './usr/share/locale/*'
done
ls "$A"/cache/archives | grep -E '\.deb$' | tr '\n' ' ' >"$CACHE/versions"
rm -rf "$A"

# The program runs on its own loader and libraries, not on the host's.
cat >"$CACHE/mdevctl" <<'LAUNCHER'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")/root
exec "$here/usr/lib64/ld-linux-x86-64.so.2" --argv0 mdevctl --library-path "$here/usr/lib/x86_64-linux-gnu" "$here/usr/bin/mdevctl" "$@"
LAUNCHER
chmod 755 "$CACHE/mdevctl"
MDEVCTL_ENV_ROOT=$ROOT "$CACHE/mdevctl" --version >&2 || die "mdevctl does not start"
touch "$CACHE/complete"
echo "$CACHE"
