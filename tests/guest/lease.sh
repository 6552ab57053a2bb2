#!/bin/sh
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# Called by udhcpc with the event in $1 and the lease in the environment.
# shellcheck disable=SC2154  # hence variables that nothing here has set
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr flush dev "$interface"
ip addr add "$ip/${mask:-24}" dev "$interface"
[ -z "$router" ] || ip route add default via "${router%% *}" dev "$interface"
for server in $dns; do
    echo "nameserver $server"
done >/etc/resolv.conf
