#!/bin/sh
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# What the guest agent calls as /sbin/shutdown, with -P, -H or -r first or second.
case " $* " in *" -r "*) exec /bin/busybox reboot -f ;; esac
exec /bin/busybox poweroff -f
