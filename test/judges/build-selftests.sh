#!/bin/bash
# Builds the kernel's own judges, tools/testing/selftests/vfio and the iommufd selftest, from Debian's linux-source package.
#
#   build-selftests.sh CACHE OUTDIR [--static]
#
# Sources are kept in CACHE, programs go to OUTDIR; nothing of the machine is changed. Sources, the first that is there:
#   LINUX_SOURCE_TARBALL=FILE, a linux-source-*.tar.xz
#   an installed package linux-source-$V
#   the package from the machine's own archive, or through a private state of apt that adds the suite $SUITE
# Needs gcc, xz, tar, dpkg-deb, apt; uuid-dev and libcap-dev are worked around where they are missing.
set -euo pipefail
V=${LINUX_SOURCE_VERSION:-7.3}
SUITE=${LINUX_SOURCE_SUITE:-trixie-backports}
[ $# -ge 2 ] || { echo "usage: $0 CACHE OUTDIR [--static]" >&2; exit 2; }
mkdir -p "$1/source" "$2"; W=$(cd "$1/source" && pwd); OUT=$(cd "$2" && pwd); STATIC=; [ "${3:-}" = --static ] && STATIC=-static
PKG=linux-source-$V

private_apt() { # the machine's own archive addresses, another suite; prints apt.conf
	local p=$W/apt; mkdir -p "$p/lists/partial" "$p/cache/archives/partial"; : >"$p/status"
	local parts= list=; eval "$(apt-config shell parts Dir::Etc::sourceparts/d list Dir::Etc::sourcelist/f)"
	local uri; uri=$( { cat "$parts"/*.sources 2>/dev/null | sed -n 's/^URIs:[[:space:]]*//p'; cat "$list" "$parts"/*.list 2>/dev/null | sed -nE 's/^deb (\[[^]]*\] )?([^ ]+) .*/\2/p'; } | tr ' ' '\n' | grep -E "/debian/?\$" | head -1 || true)
	[ -n "$uri" ] || { echo "$0: no Debian mirror among the apt sources" >&2; return 1; }
	local key; key=$(dpkg -L debian-archive-keyring 2>/dev/null | grep -E '/debian-archive-keyring\.(gpg|pgp)$' | head -1)
	printf 'deb [signed-by=%s] %s %s main\n' "$key" "$uri" "$SUITE" >"$p/sources.list"
	cat >"$p/apt.conf" <<-C
	Dir::State "$p"; Dir::State::Lists "$p/lists"; Dir::State::status "$p/status"; Dir::Cache "$p/cache";
	Dir::Etc::sourcelist "$p/sources.list"; Dir::Etc::sourceparts "-"; APT::Sandbox::User "root";
	C
	echo "$p/apt.conf"
}

SRC=$W/linux-source-$V
if [ ! -e "$SRC/.complete" ]; then
	TB=${LINUX_SOURCE_TARBALL:-}
	[ -n "$TB" ] || TB=$(dpkg -L "$PKG" 2>/dev/null | grep -E '\.tar\.xz$' | head -1 || true)
	if [ -z "$TB" ] || [ ! -e "$TB" ]; then
		cd "$W"; ls "$PKG"_*.deb >/dev/null 2>&1 || apt-get -o APT::Sandbox::User=root download "$PKG" || {
			C=$(private_apt); APT_CONFIG=$C apt-get update; APT_CONFIG=$C apt-get download "$PKG"; }
		TB=$W/$PKG.tar.xz
		dpkg-deb --fsys-tarfile "$(ls "$W/$PKG"_*.deb | tail -1)" | tar -xO "./usr/src/$PKG.tar.xz" >"$TB"
	fi
	rm -rf "$SRC"; mkdir -p "$SRC"
	T=$PKG # top directory inside the tarball
	tar -C "$SRC" --strip-components=1 -xJf "$TB" \
		"$T/COPYING" "$T/tools/include" "$T/tools/arch/x86/include" "$T/tools/testing/selftests/vfio" \
		"$T/tools/testing/selftests/iommu" "$T/tools/testing/selftests/kselftest.h" "$T/tools/testing/selftests/kselftest_harness.h" \
		"$T/drivers/dma/ioat" "$T/drivers/dma/idxd" "$T/drivers/net/ethernet/intel/igb" "$T/drivers/iommu/iommufd" \
		"$T/include/uapi/linux" "$T/include/linux/pci_ids.h"
	rm -f "$W"/$PKG.tar.xz "$W"/${PKG}_*.deb; touch "$SRC/.complete"
fi

# What "make headers_install" would give: exactly the headers these tests need newer
# than the distribution's, with the kernel-only annotations taken off.
H=$W/hdr; rm -rf "$H"; mkdir -p "$H/linux" "$H/sys"
for f in vfio iommufd; do
	sed -E 's/[[:space:]]+__counted_by(_le|_be)?\([^)]*\)//; s/\b__user\b//g' "$SRC/include/uapi/linux/$f.h" >"$H/linux/$f.h"
done
cp "$SRC/include/uapi/linux/pci_regs.h" "$SRC/include/linux/pci_ids.h" "$H/linux/"
# libcap only serves to drop CAP_IPC_LOCK (fixture change_process); without libcap-dev do it by the system calls.
echo "#include <sys/capability.h>" | gcc -E - >/dev/null 2>&1 && CAPLIB=-lcap || { CAPLIB=; cat >"$H/sys/capability.h" <<-'C'
	#ifndef STUB_SYS_CAPABILITY_H
	#define STUB_SYS_CAPABILITY_H
	#include <stdlib.h>
	#include <unistd.h>
	#include <sys/syscall.h>
	#include <linux/capability.h>
	typedef struct stub_cap { struct __user_cap_header_struct h; struct __user_cap_data_struct d[2]; } *cap_t;
	typedef int cap_value_t;
	typedef enum { CAP_EFFECTIVE = 0, CAP_PERMITTED = 1, CAP_INHERITABLE = 2 } cap_flag_t;
	typedef enum { CAP_CLEAR = 0, CAP_SET = 1 } cap_flag_value_t;
	static inline cap_t cap_get_proc(void)
	{
		cap_t c = calloc(1, sizeof(*c));
		if (!c) return NULL;
		c->h.version = _LINUX_CAPABILITY_VERSION_3;
		if (syscall(SYS_capget, &c->h, c->d)) { free(c); return NULL; }
		return c;
	}
	static inline __u32 *stub_cap_word(cap_t c, cap_flag_t f, cap_value_t v)
	{
		struct __user_cap_data_struct *d = &c->d[v >> 5];
		return f == CAP_EFFECTIVE ? &d->effective : f == CAP_PERMITTED ? &d->permitted : &d->inheritable;
	}
	static inline int cap_set_flag(cap_t c, cap_flag_t f, int n, const cap_value_t *v, cap_flag_value_t x)
	{
		for (int i = 0; i < n; i++)
			if (x) *stub_cap_word(c, f, v[i]) |= 1u << (v[i] & 31); else *stub_cap_word(c, f, v[i]) &= ~(1u << (v[i] & 31));
		return 0;
	}
	static inline int cap_get_flag(cap_t c, cap_value_t v, cap_flag_t f, cap_flag_value_t *o)
	{
		*o = *stub_cap_word(c, f, v) >> (v & 31) & 1;
		return 0;
	}
	static inline int cap_set_proc(cap_t c) { return syscall(SYS_capset, &c->h, c->d); }
	static inline int cap_free(void *c) { free(c); return 0; }
	#endif
C
}
UUID=; if ! echo '#include <uuid/uuid.h>' | gcc -E - >/dev/null 2>&1; then
	(cd "$W"; ls uuid-dev_*.deb >/dev/null 2>&1 || apt-get -o APT::Sandbox::User=root download uuid-dev libuuid1; for d in uuid-dev_*.deb libuuid1_*.deb; do dpkg-deb -x "$d" "$W/uuid"; done)
	UUID="-I$W/uuid/usr/include -L$(dirname "$(find "$W/uuid" -name libuuid.a)")"
fi

S=$SRC/tools/testing/selftests
O=$(mktemp -d "$W/out.XXXXXX"); trap 'rm -rf "$O"' EXIT # programs appear in OUTDIR all at once
INC="-I$H -I$SRC/tools/include -I$SRC/tools/arch/x86/include -I$S -I$S/vfio/lib/include $UUID"
FL="-O2 -g -std=gnu11 -D_GNU_SOURCE= -Wall -Wno-unused-function -Wno-address-of-packed-member"
L=$W/lib; mkdir -p "$L"; OBJ=
for c in iommu iova_allocator libvfio sysfs vfio_pci_device vfio_pci_driver drivers/ioat/ioat drivers/dsa/dsa drivers/nv_falcon/nv_falcon drivers/igb/igb; do
	o=$L/$(basename $c).o; gcc $FL $INC -c "$S/vfio/lib/$c.c" -o "$o"; OBJ="$OBJ $o"
done
for t in "$S"/vfio/vfio_*.c; do b=$(basename "$t" .c); gcc $FL $INC $STATIC "$t" $OBJ -pthread -luuid -o "$O/$b"; echo "built $b"; done
for t in iommufd; do
	gcc -O2 -g -w -D_GNU_SOURCE= -I"$H" -I"$SRC/tools/include" -I"$S" $STATIC "$S/iommu/$t.c" $CAPLIB -o "$O/$t"; echo "built $t"
done
mv "$O"/vfio_* "$OUT"; mv "$O"/iommufd "$OUT" # the last one says that all are there
