# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ping, which also says when it had nothing left to do: what Ansible takes from there on is a task's own tail."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    """The module. ``stamp``: seconds of the monotonic clock."""
    module = AnsibleModule({}, supports_check_mode=True)
    module.exit_json(ping="pong", stamp=time.monotonic())


if __name__ == "__main__":
    main()
