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

bring_up() {
    ip link set "$1" up
    if udhcpc -i "$1" -n -q -f -t 5 -T 1 -s /etc/lease.sh >/dev/null 2>&1; then
        say "lease: $1 $(ip -4 -o addr show dev "$1" | awk '{ sub("/.*", "", $4); print $4 }')"
        [ "$1" != "$2" ] || ! asked httpd || say "httpd ready"
    else
        say "lease: $1 none"
    fi
}

nets=
for net in /sys/class/net/*; do
    [ "${net##*/}" = lo ] || nets="$nets ${net##*/}"
done
nets=${nets# }
ip link set lo up
asked noacpi || watch_power_button
! asked httpd || start_httpd
[ ! -x /lib/agent/qemu-ga ] || start_agent
list_disks
say "nets: ${nets:-none}"
set -f   # a word of the command line is never a pattern
for word in $cmdline; do
    case "$word" in maqet.hello=*) say "hello: ${word#maqet.hello=}" ;; esac
done
say "guest ready: Linux $version"

! asked panic || echo c >/proc/sysrq-trigger
! asked poweroff || power_off
for net in $nets; do
    bring_up "$net" "${nets%% *}" &
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
