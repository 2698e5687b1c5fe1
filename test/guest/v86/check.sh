#!/bin/sh
# check.sh - guest side of the v86 scene: a serial card 4348:3253 whose ports echo what is written (slot 12), and an edu
# function 1234:11e8 with DMA (slot 13). Prints PASS/FAIL lines; the exit code is the number of FAILs.
# Wants /files/peek, /files/uio.ko, /files/uio_pci_generic.ko and 8 MiB of RAM that the kernel leaves alone.
BYTES=${BYTES:-16384} WAIT=60
CARD=/sys/bus/pci/devices/0000:00:0c.0 EDU=/sys/bus/pci/devices/0000:00:0d.0
fails=0
pass() { echo "PASS $*"; }
fail() { echo "FAIL $*"; fails=$((fails + 1)); }
is() { if [ "$2" = "$3" ]; then pass "$1: $2"; else fail "$1: got '$2', want '$3'"; fi; }
same() { if cmp -s "$2" "$3"; then pass "$1"; else fail "$1"; fi; }
peek() { /files/peek "$@"; }
config() { hexdump -s $(($2)) -n $3 -e "1/$3 \"%0$(($3 * 2))x\"" $1/config; } # device offset width
poke() { printf "$(printf %08x $3 | sed 's/\(..\)\(..\)\(..\)\(..\)/\\x\4\\x\3\\x\2\\x\1/')" | dd of=$1/config bs=4 seek=$(($2 / 4)) conv=notrunc 2>/dev/null; }
interrupts() { awk -v n="$(cat $1/irq):" '$1 == n { print $2 }' /proc/interrupts; }
counted() { sed -n "s/^$1: .*tx:\([0-9]*\) rx:\([0-9]*\).*/\1\/\2/p" /proc/tty/driver/serial; }
loop() { # port file: write the file, read as many bytes back
  stty -F /dev/$1 115200 raw -echo -crtscts -ixon clocal || return 1
  timeout $WAIT head -c $(wc -c <$2) </dev/$1 >/tmp/got & r=$!
  usleep 200000
  timeout $WAIT cat $2 >/dev/$1; wait $r
}

# ---- the serial card
is "card in slot 12" "$(cat $CARD/vendor):$(cat $CARD/device) $(cat $CARD/class) $(cat $CARD/revision)" "0x4348:0x3253 0x070002 0x10"
is "card's interrupt pin" "$(config $CARD 0x3d 1)" 01
for bar in 0 1; do
  set -- $(sed -n "$((bar + 1))p" $CARD/resource)
  is "BAR $bar: 8 ports of I/O" "$(($2 - $1 + 1)) $(($3 & 0x100))" "8 256"
  port=ttyS$((bar + 1)) at=$(printf 0x%x $1)
  is "$port found there" "$(dmesg | sed -n "s/.*0000:00:0c.0: \($port at I\/O $at\) (irq = [0-9]*, .*) is a \(.*\)/\1 \2/p")" "$port at I/O $at 16550A"
  exec 3<>/dev/$port # keeps the interrupt requested, so that it stays listed
  before=$(interrupts $CARD)
  head -c $BYTES /dev/urandom >/tmp/sent
  loop $port /tmp/sent
  same "$port: $BYTES random bytes out and back" /tmp/sent /tmp/got
  is "$port: sent and received by the driver's count" "$(counted $((bar + 1)))" "$BYTES/$BYTES"
  if [ "$(interrupts $CARD)" -gt "$before" ]; then pass "$port: $(($(interrupts $CARD) - before)) interrupts"; else fail "$port: no interrupts"; fi
  exec 3<&-
done

# ---- its BARs move: it is pulled out and found again
was=$(sed -n 1p $CARD/resource)
echo 1 >$CARD/remove
echo 1 >/sys/bus/pci/rescan # the kernel gives it places of its own choice, not the firmware's
n=0; while [ ! -e $CARD/tty ] && [ $n -lt 100 ]; do usleep 50000; n=$((n + 1)); done
now=$(sed -n 1p $CARD/resource)
if [ -n "$now" ] && [ "$now" != "$was" ]; then pass "BAR 0 went from ${was%% *} to ${now%% *}"; else fail "BAR 0 stays at ${was%% *}"; fi
head -c 100 /dev/urandom >/tmp/sent
port=$(ls -d $CARD/tty/ttyS* | head -n1); loop ${port##*/} /tmp/sent
same "${port##*/}: 100 random bytes out and back at the new ports" /tmp/sent /tmp/got

# ---- the DMA device: registers
is "edu in slot 13" "$(cat $EDU/vendor):$(cat $EDU/device)" 0x1234:0x11e8
set -- $(sed -n 1p $EDU/resource)
is "BAR 0: 1 MiB of memory" "$(($2 - $1 + 1)) $(($3 & 0x200))" "1048576 512"
is "identification" "$(peek r $EDU/resource0 0)" 0x010000ed
peek w $EDU/resource0 4 12345678
is "liveness register inverts" "$(peek r $EDU/resource0 4)" 0xedcba987
peek w $EDU/resource0 8 a
is "factorial of 10" "$(usleep 1000; peek r $EDU/resource0 8)" 0x00375f00

# ---- memory BAR moves
at=$(config $EDU 0x10 4)
poke $EDU 0x10 0xfd000000
is "registers at the new address" "$(peek r /dev/mem fd000000)" 0x010000ed
is "nothing left at the old one" "$(peek r /dev/mem $at)" 0xffffffff
poke $EDU 0x10 0x$at
is "registers back at the old address" "$(peek r $EDU/resource0 0)" 0x010000ed

# ---- DMA and its interrupt, by the kernel's generic driver, which lets the bus master go with its last user
insmod /files/uio.ko && insmod /files/uio_pci_generic.ko
echo 1234 11e8 >/sys/bus/pci/drivers/uio_pci_generic/new_id
exec 4</dev/uio0
command() { poke $EDU 4 $(((0x$(config $EDU 4 2) & ~$1) | $2)); } # clear set
command 0 4 # bus master
transfer() { # source destination count command
  for word in "80 $1" "84 0" "88 $2" "8c 0" "90 $3" "94 0" "98 $4"; do peek w $EDU/resource0 $word; done
}
event() { timeout $WAIT dd bs=4 count=1 <&4 2>/dev/null | hexdump -e '1/4 "%u"'; }
head -c 4096 /dev/urandom >/tmp/page
peek put /dev/mem 7000000 1000 </tmp/page
transfer 7000000 40000 1000 1
transfer 40000 7003000 1000 3
peek get /dev/mem 7003000 1000 >/tmp/copied
same "the device copied a page through its buffer by DMA" /tmp/page /tmp/copied
before=$(interrupts $EDU)
for n in 1 2; do
  transfer 40000 7004800 800 7
  is "interrupt $n of the DMA reached its driver" "$(event) $(($(interrupts $EDU) - before))" "$n $n"
  is "pending in configuration space, turned off by the driver" "$((0x$(config $EDU 6 2) & 8)) $((0x$(config $EDU 4 2) & 0x400))" "8 1024"
  is "interrupt status" "$(peek r $EDU/resource0 24)" 0x00000100
  peek w $EDU/resource0 64 100
  is "interrupt status once acknowledged" "$(peek r $EDU/resource0 24) $((0x$(config $EDU 6 2) & 8))" "0x00000000 0"
  command 0x400 0
done
peek get /dev/mem 7004800 800 >/tmp/copied
head -c 2048 /tmp/page >/tmp/half
same "the half page of that transfer is there" /tmp/half /tmp/copied

# ---- DMA into code that runs
is "code that was replaced by DMA, before and after" "$(peek code $EDU/resource0 7010000 | tr '\n' ' ')" "0x00000001 0x00000002 "

# ---- what a device must not do
command 4 0 # no bus master
head -c 4096 /dev/zero >/tmp/zeros
peek put /dev/mem 7005000 1000 </tmp/zeros
transfer 40000 7005000 1000 3
peek get /dev/mem 7005000 1000 >/tmp/copied
same "without bus mastering nothing is written" /tmp/zeros /tmp/copied
exec 4<&-

is "complaints in the log" "$(dmesg | grep -cE 'nobody cared|too much work for irq|Oops|BUG:')" 0
exit $fails
