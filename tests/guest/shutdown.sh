#!/bin/sh
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# What the guest agent calls as /sbin/shutdown, with -P, -H or -r first or second.
case " $* " in
    *" -r "*) exec /bin/busybox reboot -f ;;
    *" -H "*)
        /bin/busybox pkill -f qemu-ga   # as an init would: a guest that halts says nothing by itself
        exec /bin/busybox halt -f
        ;;
esac
exec /bin/busybox poweroff -f
