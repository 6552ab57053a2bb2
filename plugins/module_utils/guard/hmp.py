# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The human monitor: a second command language inside one string, of which a few words are harmless.

Source: hmp-commands.hx and hmp-commands-info.hx of QEMU 7.2 and 11.1. QEMU compares names as wholes, and
a name has no abbreviations but those listed there (c for cont, p for print ...).
"""

from __future__ import annotations

#: What stays within the guest or only looks; a caller still has to consent.
WORDS = frozenset(
    """
    announce_self balloon boot_set c calc_dirty_rate cont cpu device_del eject ? help i info inject-nmi mce
    mouse_button mouse_move mouse_set nmi o p print q quit replay_break replay_delete_break ringbuf_read
    ringbuf_write s sendkey set_link stop sum sync-profile system_powerdown system_reset system_wakeup
    watchdog_action x xp
    """.split()
)

_MAX = 4096


def problem(line: object) -> str | None:
    """Why this line may not be sent even with consent, or None."""
    if not isinstance(line, str) or not line.strip():
        return "is no command of the human monitor"
    if len(line) > _MAX or not line.isascii() or any(ord(char) < 32 or ord(char) == 127 for char in line):
        return "is no single line of plain text"
    word = line.split(None, 1)[0]
    if word.startswith(("info", "help")) and word not in WORDS:
        return "begins with no word that is known"
    # "x/20i" and "p/x": a format may follow the name without a blank.
    name = word.partition("/")[0] or word
    return None if name in WORDS else "begins with a word that may reach the host, or that nobody has judged"
