# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the host's policy comes from, for the runner and for ``mode: direct`` alike."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Policy
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy_file import PolicySource
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.yaml_reader import reader


def host_policy(where: Layout, told: t.Optional[t.Callable[[Policy], None]] = None) -> PolicySource:
    """The policy of this host, or of this user. Where our own Python cannot read YAML, the runner's is asked.

    ``told`` hears of each new policy.
    """
    return PolicySource(where.policy, reader(where.python), told)
