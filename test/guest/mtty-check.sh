#!/bin/sh
# mtty-check.sh - guest side of the scenario in the kernel's VFIO mediated-device
# documentation: a dual 16550A PCI serial card 4348:3253 whose ports echo what is written.
#   run-guest.sh --socket PATH --script mtty-check.sh [--env BYTES=4096] [--env CARDS=1]
# The whole check runs twice: on the card as it was found at boot, and after the card was removed and found again
# through the guest's sysfs.
# Prints PASS/FAIL lines; the exit code is the number of FAILs (at most 100).
BYTES=${BYTES:-4096} CARDS=${CARDS:-1} WAIT=${WAIT:-30}
fails=0
pass() { echo "PASS $*"; }
fail() { echo "FAIL $*"; fails=$((fails + 1)); }
check() { d=$1; shift; if "$@" >/dev/null 2>&1; then pass "$d"; else fail "$d"; fi; }
is() { if [ "$2" = "$3" ]; then pass "$1: $2"; else fail "$1: got '$2', want '$3'"; fi; }

COUNTERS=/proc/tty/driver/serial; [ -e $COUNTERS ] || COUNTERS=/proc/tty/driver/serial_8250 # name since about 7.0
stat_of() { sed -n "s/^$1: .*tx:\([0-9]*\) rx:\([0-9]*\).*/\1 \2/p" $COUNTERS | cut -d' ' -f"$2"; }
errs_of() { grep "^$1:" $COUNTERS | grep -oE '(fe|pe|brk|oe):[0-9]+' | tr '\n' ' '; }
irqs() { awk '/ttyS/ && !/ttyS0$/ { for (i = 2; $i ~ /^[0-9]+$/; i++) s += $i } END { print s + 0 }' /proc/interrupts; }
loop() { # port file: write the file, read as many bytes back, compare
  stty -F /dev/$1 115200 raw -echo -crtscts -ixon clocal cread || return 1
  n=$(wc -c <$2)
  (timeout "$WAIT" head -c "$n" </dev/$1 >/tmp/got.$1) & r=$!
  usleep 100000
  timeout "$WAIT" cat $2 >/dev/$1 || return 1
  wait $r; cmp $2 /tmp/got.$1
}
now() { cut -d' ' -f1 /proc/uptime | tr -d .; }
timed() { t0=$(now); "$@"; r=$?; t1=$(now); return $r; }

# What the bus, the driver and the serial core say of the cards; sets $ports.
identify() {
  devs=$(lspci -Dn -d 4348:3253 | cut -d' ' -f1)
  is "$1: cards 4348:3253 seen by lspci" "$(echo $devs | wc -w)" "$CARDS"
  ports=
  for dev in $devs; do
    S=/sys/bus/pci/devices/$dev
    echo "# lspci -xxvv -s $dev"; lspci -xxvv -s "$dev"
    is "$1: $dev class" "$(cat $S/class)" 0x070002
    is "$1: $dev revision" "$(cat $S/revision)" 0x10
    is "$1: $dev subsystem" "$(cat $S/subsystem_vendor):$(cat $S/subsystem_device)" 0x4348:0x3253
    is "$1: $dev interrupt pin" "$(setpci -s $dev INTERRUPT_PIN.B)" 01
    for bar in 0 1; do
      set -- "$1" $(sed -n "$((bar + 1))p" $S/resource)
      is "$1: $dev BAR$bar size" "$(($3 - $2 + 1))" 8
      is "$1: $dev BAR$bar is I/O" "$((($4 & 0x100) != 0))" 1
    done
    is "$1: $dev BARs after the second" "$(sed -n '3,6p' $S/resource | grep -vc '^0x0* 0x0* ')" 0
    is "$1: $dev driver" "$(basename "$(readlink $S/driver)")" serial
    p=$(find $S/ -maxdepth 4 -name 'ttyS[0-9]*' | sed 's/.*\///' | sort -u)
    is "$1: $dev serial ports" "$(echo $p | wc -w)" 2
    ports="$ports $p"
  done
  [ -n "$devs" ] || { echo "# lspci -nn"; lspci -nn; dmesg | tail -n 20; }
  echo "# dmesg | grep ttyS"; dmesg | grep 'ttyS[0-9]* at '
  for p in $ports; do
    check "$1: $p announced as 16550A" sh -c "dmesg | grep -q '$p at I/O .* is a 16550A'"
    g=$(setserial -g /dev/$p); echo "# $g"
    case $g in *"UART: 16550A"*) pass "$1: $p setserial 16550A";; *) fail "$1: $p setserial: $g";; esac
  done
}

# Bytes out and back on each port, then on all at once.
loopback() {
  for p in $ports; do
    exec 3<>/dev/$p                      # keeps the interrupt requested, so it stays listed
    i0=$(irqs)                           # few: with an instant echo one interrupt can move kilobytes
    head -c 1 /dev/urandom >/tmp/one; check "$1: $p one byte loops back" loop $p /tmp/one
    printf 'The quick brown fox\r\n\000\001\021\023\377' >/tmp/txt; check "$1: $p text and control bytes" loop $p /tmp/txt
    x0=$(stat_of ${p#ttyS} 1); r0=$(stat_of ${p#ttyS} 2)
    head -c "$BYTES" /dev/urandom >/tmp/rnd.$p
    if timed loop $p /tmp/rnd.$p; then pass "$1: $p $BYTES random bytes loop back ($(( (t1 - t0) * 10 )) ms)"; else fail "$1: $p $BYTES random bytes: $(wc -c </tmp/got.$p) came back"; fi
    i1=$(irqs); x1=$(stat_of ${p#ttyS} 1); r1=$(stat_of ${p#ttyS} 2)
    is "$1: $p driver counts sent/received" "$((x1 - x0))/$((r1 - r0))" "$BYTES/$BYTES"
    if [ $((i1 - i0)) -gt 0 ]; then pass "$1: $p interrupts: $((i1 - i0))"; else fail "$1: $p no interrupts counted"; fi
    is "$1: $p line errors" "$(errs_of ${p#ttyS})" ""
    exec 3>&-
  done
  if [ "$(echo $ports | wc -w)" -ge 2 ]; then
    pids=
    for p in $ports; do loop $p /tmp/rnd.$p >/dev/null 2>&1 & pids="$pids $!"; done
    ok=1; for j in $pids; do wait $j || ok=0; done
    is "$1: all ports at once, shared interrupt" $ok 1
  fi
}

identify boot
loopback boot

for dev in $(lspci -Dn -d 4348:3253 | cut -d' ' -f1); do echo 1 >/sys/bus/pci/devices/$dev/remove; done
is "cards after removal through sysfs" "$(lspci -Dn -d 4348:3253 | wc -l)" 0
dmesg -c >/dev/null
echo 1 >/sys/bus/pci/rescan
n=0; while [ -z "$(ls -d /sys/bus/pci/drivers/serial/0000* 2>/dev/null)" ] && [ $n -lt 100 ]; do usleep 50000; n=$((n + 1)); done
identify rescan
loopback rescan

check "no spurious-interrupt complaint in the log" sh -c '! dmesg | grep -qE "nobody cared|too much work for irq"'
echo "RESULT $([ $fails = 0 ] && echo PASS || echo FAIL) ($fails failed)"
[ $fails -le 100 ] || fails=100
exit $fails
