# debian-packages.sh - what the guests are made of: Debian packages, fetched by apt with a private state directory.
#
# To be sourced. Nothing is installed on the host and root is not needed; proxy and transport settings of the host's apt
# stay in force. Host tools used: apt-get, apt-cache, dpkg-deb, tar.

# Prints the Debian mirror that this host's apt uses for its own release, or what GUEST_MIRROR says.
debian_mirror() {
  local mirror=${GUEST_MIRROR:-} host_suite
  host_suite=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
  if [ -z "$mirror" ]; then
    # the repository that gives this host its own release (component main)
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
      awk -v s="$host_suite" '$2==s && $3=="main" {print $1; exit}') || true
  fi
  if [ -z "$mirror" ]; then # one-line or deb822 sources, read by hand
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
      awk '/^deb /{for(i=2;i<=NF;i++) if($i ~ /:\/\// && $(i+1) !~ /security/){print $i; exit}} /^URIs:/ && $2 !~ /security/ {print $2; exit}') || true
  fi
  [ -n "$mirror" ] || die "no Debian mirror found in this host's apt configuration; set GUEST_MIRROR"
  printf '%s\n' "${mirror%/}"
}

# debian_state DIR ARCHITECTURE SUITE... - makes an empty apt state in DIR, sets APT to the options that use it, and
# fetches the package lists.
debian_state() {
  local state=$1 architecture=$2 mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg suite
  shift 2
  [ -e "$keyring" ] || die "$keyring is missing (package debian-archive-keyring)"
  mirror=$(debian_mirror)
  rm -rf "$state"; mkdir -p "$state"/{lists/partial,cache/archives/partial,etc/apt.conf.d,etc/preferences.d,log}
  : >"$state/status"; : >"$state/extended_states"
  for suite; do printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"; done >"$state/etc/sources.list"
  APT=(-q -o "Dir::Etc::sourcelist=$state/etc/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::Etc::preferencesparts=$state/etc/preferences.d" -o Dir::Etc::preferences=/dev/null
    -o "Dir::State=$state" -o "Dir::State::Lists=$state/lists" -o "Dir::State::status=$state/status"
    -o "Dir::State::extended_states=$state/extended_states"
    -o "Dir::Cache=$state/cache" -o "Dir::Log=$state/log" -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User= -o Debug::NoLocking=1 -o DPkg::Options::=)
  say "package lists from $mirror ($*)"
  apt-get "${APT[@]}" update >"$state/log/update" 2>&1 || { cat "$state/log/update" >&2; die "apt-get update failed"; }
}

# debian_unpack ROOT FILE... - unpacks packages into ROOT without documentation.
debian_unpack() {
  local root=$1 file
  shift
  for file; do
    dpkg-deb --fsys-tarfile "$file" | tar -x -C "$root" --keep-directory-symlink --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*'
  done
}
