#!/bin/sh
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PID 1 of the test guest. Everything that a test may wait for is one line on the serial console that begins
# with "maqet "; README.md lists the lines and the words of the kernel command line that are obeyed.
# Nothing here polls: modules are loaded in order, the power button and the console are blocking reads.
export PATH=/bin HOME=/ TERM=linux
busybox=/bin/busybox
"$busybox" mount -t proc proc /proc      # first: busybox finds its own applets through /proc/self/exe
"$busybox" --install -s /bin 2>/dev/null   # all but sh, which is there already
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
cmdline=$(cat /proc/cmdline)
version=$(uname -r)

asked() {
    case " $cmdline " in *" maqet.$1 "*) return 0 ;; esac
    return 1
}

# Kernel messages would land in the middle of our lines. A panic is still shown.
case " $cmdline " in *" quiet "*) dmesg -n 1 ;; esac

# The build has put dependencies before dependants, and sd_mod and sr_mod last: the kernel ends a module's loading
# only when the probing begun so far is over, so after this loop every disk that was there at boot is known.
while read -r module; do
    insmod "/lib/modules/$module" || echo "maqet: cannot load $module" >/dev/kmsg
done </lib/modules/order

# ttyS0 always has a node, type 0 says that no chip is behind it.
tty=
if [ "$(cat /sys/class/tty/ttyS0/type 2>/dev/null || echo 0)" != 0 ]; then
    tty=/dev/ttyS0
elif [ -c /dev/ttyAMA0 ]; then
    tty=/dev/ttyAMA0
elif [ -c /dev/hvc0 ]; then
    tty=/dev/hvc0
fi
exec 3<>"${tty:-/dev/null}"

say() {
    echo "maqet $*" >&3
}

power_off() {
    say "guest powering off"
    [ -z "$tty" ] || stty -F "$tty" -echo   # stty waits until the line before it has left
    poweroff -f
}

# Opened here, before the greeting, so that a press right after the greeting is queued and not lost.
watch_power_button() {
    for input in /sys/class/input/event*; do
        case "$(cat "$input/device/name" 2>/dev/null)" in
            "Power Button" | gpio-keys) ;;
            *) continue ;;
        esac
        exec 4<"/dev/input/${input##*/}"
        { dd bs=24 count=1 <&4 >/dev/null 2>&1 && power_off; } &   # 24 bytes: one struct input_event
        exec 4<&-
    done
}

# The port has its name by now: virtio_console was loaded long before the disks, and QEMU names a port at once.
start_agent() {
    for port in /sys/class/virtio-ports/*; do
        [ "$(cat "$port/name" 2>/dev/null)" = org.qemu.guest_agent.0 ] || continue
        /lib/agent/ld.so --library-path /lib/agent /lib/agent/qemu-ga -m virtio-serial -p "/dev/${port##*/}" -t /run \
            </dev/null >/dev/null 2>&1 &
    done
}

list_disks() {
    list=
    for disk in /sys/block/*; do
        case "${disk##*/}" in loop* | ram* | fd* | dm-* | zram*) continue ;; esac
        [ ! -e "$disk/size" ] || list="$list ${disk##*/}:$(cat "$disk/size")"
    done
    say "disks:${list:- none}"
}

start_httpd() {
    mkdir -p /www
    echo "maqet guest ready: Linux $version" >/www/index.html
    httpd -p 80 -h /www    # returns once the port is open
}

# What a word of the command line says, such as maqet.ping=10.0.2.2.
value_of() {
    for word in $cmdline; do
        case "$word" in maqet.$1=*) echo "${word#maqet."$1"=}" ;; esac
    done
}

# A ping waits a second for its answer, so this asks once a second until there is one.
ping_until_answered() {
    until ping -c 1 -W 1 "$1" >/dev/null 2>&1; do :; done
    say "ping: $1 answers"
}

# Opened before the greeting, so that what is typed right after it is kept. The screen shows what is typed.
read_keyboard() {
    exec 5</dev/tty1
    while IFS= read -r line; do say "typed: $line"; done <&5 &
    exec 5<&-
}

bring_up() {
    ip link set "$1" up
    say "card: $1 mtu=$(cat "/sys/class/net/$1/mtu") queues=$(find "/sys/class/net/$1/queues" -name 'rx-*' | wc -l)"
    address=$(value_of "address.$1")
    if [ -n "$address" ]; then
        ip addr add "$address" dev "$1"
        say "address: $1 $address"
        [ "$1" != "$2" ] || ! asked httpd || say "httpd ready"
    elif udhcpc -i "$1" -n -q -f -t 5 -T 1 -s /etc/lease.sh >/dev/null 2>&1; then
        say "lease: $1 $(ip -4 -o addr show dev "$1" | awk '{ sub("/.*", "", $4); print $4 }')"
        [ "$1" != "$2" ] || ! asked httpd || say "httpd ready"
    else
        say "lease: $1 none"
    fi
}

# The firmware, whether Secure Boot is on, and a variable that is set at the first start and shown from then on.
show_firmware() {
    say "tpm: $(cat /sys/class/tpm/tpm0/tpm_version_major 2>/dev/null || echo none)"
    if [ ! -d /sys/firmware/efi ]; then
        case $(uname -m) in x86_64) say "firmware: bios" ;; *) say "firmware: none" ;; esac
        return
    fi
    vars=/sys/firmware/efi/efivars
    mount -t efivarfs efivarfs "$vars"
    secure=$(tail -c 1 "$vars"/SecureBoot-* 2>/dev/null | od -An -tu1 | tr -d ' ')
    say "firmware: uefi, secure boot: ${secure:-unknown}"
    mine=$vars/Maqet-6d617165-7400-4d61-8165-740000000001
    if [ -e "$mine" ]; then
        say "variable: $(tail -c +5 "$mine")"
    else   # four bytes of attributes: it stays, and can be seen before and after the start of a system
        printf '\007\000\000\000kept' >"$mine" && say "variable: set"
    fi
}

# What is in the file "hello" of a shared folder, and whether another file can be written beside it.
show_share() {
    mkdir -p "/mnt/$1"
    if ! mount -t 9p -o trans=virtio,version=9p2000.L "$1" "/mnt/$1"; then
        say "share $1: cannot be mounted"
        return
    fi
    say "share $1: $(cat "/mnt/$1/hello")"
    if echo "from the guest" >"/mnt/$1/answer"; then
        say "share $1: written"
    else
        say "share $1: not written"
    fi
}

# Every 100 ms a number that is one more: a line on the console, and a sector of the first disk at the number's place.
# What was counted before the guest was started again is not counted again. The shell's own clock is the only one.
count_to_disk() {
    number=$(tr -d '\0' <"$1" | tail -n 1 | tr -cd 0-9)
    number=${number:-0}
    while :; do
        number=$((number + 1))
        printf '%-511s\n' "$number" | dd of="$1" bs=512 seek="$number" conv=notrunc,fsync 2>/dev/null || say "count: no disk"
        say "count: $number"
        usleep 100000
    done
}

nets=
for net in /sys/class/net/*; do
    [ "${net##*/}" = lo ] || nets="$nets ${net##*/}"
done
nets=${nets# }
ip link set lo up
asked noacpi || watch_power_button
! asked httpd || start_httpd
! asked keyboard || read_keyboard
[ ! -x /lib/agent/qemu-ga ] || start_agent
list_disks
! asked firmware || show_firmware
say "nets: ${nets:-none}"
set -f   # a word of the command line is never a pattern
for word in $cmdline; do
    case "$word" in
        maqet.hello=*) say "hello: ${word#maqet.hello=}" ;;
        maqet.share=*) show_share "${word#maqet.share=}" ;;
    esac
done
say "guest ready: Linux $version"

! asked count || count_to_disk /dev/vda &
! asked panic || echo c >/proc/sysrq-trigger
! asked poweroff || power_off
for net in $nets; do
    bring_up "$net" "${nets%% *}" &
done
for other in $(value_of ping); do
    ping_until_answered "$other" &
done

# A console for people and tests: every line is a command of its own. No prompt, since it would stand before our lines.
# The reader is never to end, or the kernel hangs up the terminal under everybody: it survives Ctrl-C, which ends only
# the command (a read that was interrupted has status 130), and Ctrl-D is switched off.
if [ -n "$tty" ]; then
    stty -F "$tty" eof undef
    # shellcheck disable=SC2016  # the inner shell is to expand it
    setsid -c sh -c 'trap : INT; while line= && read -r line || [ $? = 130 ]; do sh -c "$line"; done' <&3 >&3 2>&3
fi
mkfifo /forever
while :; do
    cat /forever
done
