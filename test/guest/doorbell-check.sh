#!/bin/sh
# doorbell-check.sh - guest side of examples/serve-to-qemu.ts: PCI function 1234:0be1 that squares a number in memory.
#   run-guest.sh --socket PATH --script doorbell-check.sh --append 'memmap=64K$0x8000000'
# The memory that the kernel leaves alone is the device's and ours; registers are reached through /dev/mem.
# Prints PASS/FAIL lines; the exit code is the number of FAILs.
fails=0
pass() { echo "PASS $*"; }
fail() { echo "FAIL $*"; fails=$((fails + 1)); }
is() { if [ "$2" = "$3" ]; then pass "$1: $2"; else fail "$1: got '$2', want '$3'"; fi; }
MEMORY=0x8000000 MEMORY_ANSWER=0x8000004

dev=$(lspci -Dn -d 1234:0be1 | cut -d' ' -f1)
S=/sys/bus/pci/devices/$dev
is "functions 1234:0be1 seen by lspci" "$(echo $dev | wc -w)" 1
set -- $(sed -n 1p $S/resource)
is "BAR 0 size" "$(($2 - $1 + 1))" 4096
bar=$(($1))
is "interrupt pin" "$(setpci -s $dev INTERRUPT_PIN.B)" 01

modprobe uio_pci_generic 2>/dev/null
echo 1234 0be1 >/sys/bus/pci/drivers/uio_pci_generic/new_id
n=0; while [ ! -e /dev/uio0 ] && [ $n -lt 100 ]; do usleep 50000; n=$((n + 1)); done
[ -c /dev/uio0 ] && pass "uio_pci_generic has it" || fail "no /dev/uio0"
exec 3<>/dev/uio0 # each close of it takes bus mastering away
setpci -s $dev COMMAND=0006:0406 # decode memory, be a bus master, let the line interrupt

put() { busybox devmem $(($1)) 32 $2; }
get() { busybox devmem $(($1)) 32; }
put bar $MEMORY
before=$(awk '/uio_pci_generic/ { print $2 }' /proc/interrupts)
for pair in 2:0x00000004 12:0x00000090 1024:0x00100000; do
  put $MEMORY ${pair%:*}
  (timeout 20 dd bs=4 count=1 <&3 2>/dev/null | wc -c >/tmp/woken) & waiter=$!
  usleep 100000
  put bar+8 1
  wait $waiter
  is "the square of ${pair%:*} is in the guest's memory" "$(get $MEMORY_ANSWER)" ${pair#*:}
  is "its interrupt arrived" "$(cat /tmp/woken)" 4
  put bar+16 0                           # the line goes down
  setpci -s $dev COMMAND=0000:0400       # uio_pci_generic has masked it
done
is "answers that the device counts" "$(get bar+16)" 0x00000003
after=$(awk '/uio_pci_generic/ { print $2 }' /proc/interrupts)
is "interrupts in /proc/interrupts" $((after - before)) 3
exit $fails
