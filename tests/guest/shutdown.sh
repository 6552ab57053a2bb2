#!/bin/sh
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# What the guest agent calls as /sbin/shutdown, with -P, -H or -r first or second.
case " $* " in
    *" -r "*) exec /bin/busybox reboot -f ;;
    *" -H "*)
        # As an init would, since a guest that halts says nothing by itself. The agent called us, and waits for us, so
        # it would not obey. Its port is closed when it is a zombie.
        /bin/busybox kill -KILL "$PPID"
        while /bin/busybox grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$PPID/status" 2>/dev/null; do :; done
        exec /bin/busybox halt -f
        ;;
esac
exec /bin/busybox poweroff -f
