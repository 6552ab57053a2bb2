# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may come in: the role of a caller, as the host's policy says it at this moment."""

from __future__ import annotations

import collections
import math
import threading
import time
import typing as t
from dataclasses import replace

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.caller import Caller
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import Policy
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Verdict

#: A user that is refused again within so many seconds is counted, not recorded again.
QUIET = 60.0
# Users that are counted one by one: one person can have thousands of ids in user namespaces. The rest share an entry.
_MAX_USERS = 256
_OTHERS = -2


class Source(t.Protocol):
    """Where the policy comes from: ``policy_file.PolicySource``."""

    path: str

    def current(self) -> Policy:
        """The policy that holds now."""


def _no_role(caller: Caller) -> str:
    return f"Its administrator can give one, such as roles: {{viewer: {{users: [{caller.uid}]}}}}."


class Entry:
    """The door of one runner. ``record`` writes down that a caller was turned away, and why."""

    def __init__(self, source: Source, record: t.Callable[[Caller, Verdict], None]) -> None:
        self._source = source
        self._record = record
        self._lock = threading.Lock()
        #: uid -> (when it was recorded, how many refusals since), the latest last.
        self._refused: collections.OrderedDict[int, tuple[float, int]] = collections.OrderedDict()

    def admits(self, uid: int, groups: t.Iterable[int]) -> bool:
        """Whether a process of this user and these groups has a role, for which no more need be known of it."""
        return self._source.current().role_of(uid, groups) is not None

    def demand(self, caller: Caller) -> None:
        """Nothing for who has a role, whatever it is; MaqetError ``policy_denied``, recorded, for anybody else."""
        policy = self._source.current()
        uid = -1 if caller.uid is None else caller.uid
        if policy.role_of(uid, caller.groups) is not None:
            return
        reason = f"user {uid} has no role in {self._source.path}"
        if policy.problem is not None:
            reason = f"user {uid} has no role while {policy.problem}"
        verdict = Verdict("deny", "unknown", "no-role", reason, "warning", _no_role(caller))
        with self._lock:
            before = self._noted(uid, time.monotonic())
        if before is not None:
            more = f" ({before} refusals since the last record)" if before else ""
            self._record(caller, replace(verdict, reason=reason + more))
        raise MaqetError(
            f"The runner does not talk to you: {reason}. {verdict.remedy}",
            "policy_denied",
            decision=verdict.as_dict(),
            remedy=verdict.remedy,
            audit=[],
        )

    def _noted(self, uid: int, now: float) -> int | None:
        """Count a refusal. How many were not recorded before it, if it is to be recorded itself; else None."""
        if uid not in self._refused and len(self._refused) >= _MAX_USERS:
            oldest, (since, _count) = next(iter(self._refused.items()))
            if now - since < QUIET:
                uid = _OTHERS
            else:
                del self._refused[oldest]
        since, count = self._refused.get(uid, (-math.inf, 0))
        if now - since < QUIET:
            self._refused[uid] = (since, count + 1)
            return None
        self._refused[uid] = (now, 0)
        self._refused.move_to_end(uid)
        return count
