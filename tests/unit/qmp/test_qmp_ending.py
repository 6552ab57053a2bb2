# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a QEMU ended, as a table of what it can leave behind."""

from __future__ import annotations

import signal
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.ending import Ending, explain, host_down
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import Message, event

POWERDOWN, RESET = event("POWERDOWN"), event("RESET", guest=True, reason="guest-reset")
PANIC = event("GUEST_PANICKED", action="poweroff", info={"type": "hyper-v", "arg1": 1})
PAUSED_PANIC = event("GUEST_PANICKED", action="pause")


def shutdown(reason: t.Optional[str], guest: bool = False) -> Message:
    return event("SHUTDOWN", guest=guest, **({} if reason is None else {"reason": reason}))


@pytest.mark.parametrize(
    ("cause", "wanted", "failed"),
    [  # ShutdownCause of QEMU 10, whole
        ("none", False, True),
        ("host-error", False, True),
        ("host-qmp-quit", True, False),
        ("host-qmp-system-reset", False, False),
        ("host-signal", True, False),
        ("host-ui", True, False),
        ("guest-shutdown", False, False),
        ("guest-reset", False, False),
        ("guest-panic", False, True),
        ("subsystem-reset", False, False),
        ("snapshot-load", False, False),
    ],
)
@pytest.mark.parametrize("status", [0, None])
def test_what_qemu_said_is_the_reason(cause: str, wanted: bool, failed: bool, status: t.Optional[int]) -> None:
    end = explain(status, [shutdown(cause)], "")
    assert (end.reason, end.wanted, end.failed, end.signal, end.status) == (cause, wanted, failed, None, status)
    assert end.detail


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([shutdown("guest-shutdown", True)], "guest-shutdown"),
        ([POWERDOWN, shutdown("guest-shutdown", True)], "host-powerdown"),
        ([POWERDOWN, RESET, shutdown("guest-shutdown", True)], "guest-shutdown"),
        ([RESET, POWERDOWN, shutdown("guest-shutdown", True)], "host-powerdown"),
        ([POWERDOWN, RESET, POWERDOWN, shutdown("guest-shutdown", True)], "host-powerdown"),
        ([POWERDOWN, shutdown("host-qmp-quit")], "host-qmp-quit"),
        ([POWERDOWN, shutdown("guest-reset", True)], "guest-reset"),
        ([PANIC, shutdown("guest-shutdown", True)], "guest-panic"),
        ([PANIC, shutdown("guest-panic", True)], "guest-panic"),
        ([PAUSED_PANIC, shutdown("guest-shutdown", True)], "guest-shutdown"),
        ([PAUSED_PANIC, shutdown("host-qmp-quit")], "host-qmp-quit"),
        ([shutdown("guest-reset", True), shutdown("host-qmp-quit")], "host-qmp-quit"),
        ([shutdown(None, True)], "guest-shutdown"),
        ([shutdown(None)], "unknown"),
        ([{"event": "SHUTDOWN"}], "unknown"),
        ([{"event": "SHUTDOWN", "data": None}], "unknown"),
        ([POWERDOWN], "unknown"),
        ([], "unknown"),
    ],
)
def test_what_came_before(events: list[Message], reason: str) -> None:
    assert explain(0, events, "").reason == reason
    assert explain(None, events, "").reason == reason


@pytest.mark.parametrize(
    ("status", "events", "words", "reason", "number", "detail"),
    [
        (-9, [], "", "signal", 9, "QEMU was ended by signal 9 (SIGKILL)"),
        (-11, [POWERDOWN], "x", "signal", 11, "QEMU was ended by signal 11 (SIGSEGV)"),
        (-99, [], "", "signal", 99, "QEMU was ended by signal 99 (unknown)"),
        (1, [], "a: No such file\n", "qemu-error", None, "QEMU ended with status 1; its last words: a: No such file"),
        (1, [], " \n", "qemu-error", None, "QEMU ended with status 1; its last words: (none)"),
        (0, [], "x", "unknown", None, "QEMU ended without a word, and nobody was told how"),
        (None, [], "x", "unknown", None, "QEMU ended without a word, and nobody was told how"),
        (
            0,
            [shutdown("host-signal")],
            "warning: y\nterminating on signal 15 from pid 7 (kill)\n",
            "host-signal",
            None,
            "QEMU was asked to end by a signal: terminating on signal 15 from pid 7 (kill)",
        ),
        (0, [shutdown("host-signal")], "", "host-signal", None, "QEMU was asked to end by a signal"),
        (
            -9,
            [POWERDOWN, shutdown("guest-shutdown")],
            "",
            "host-powerdown",
            9,
            "the guest powered off when its power button was pressed from the host; then signal 9 (SIGKILL) ended QEMU",
        ),
        (0, [shutdown("of-tomorrow")], "", "of-tomorrow", None, "of-tomorrow"),
    ],
)
def test_statuses_and_words(
    status: t.Optional[int], events: list[Message], words: str, reason: str, number: t.Optional[int], detail: str
) -> None:
    end = explain(status, events, words)
    assert (end.reason, end.signal, end.detail, end.status, end.words) == (reason, number, detail, status, words)


@pytest.mark.parametrize(
    ("end", "wanted", "failed"),
    [
        (explain(-signal.SIGKILL, [shutdown("guest-shutdown")], ""), False, True),
        (explain(-signal.SIGKILL, [shutdown("host-qmp-quit")], ""), True, True),
        (explain(1, [shutdown("guest-shutdown")], ""), False, True),
        (explain(-signal.SIGSEGV, [], ""), False, True),
        (explain(1, [], ""), False, True),
        (explain(None, [], ""), False, True),
        (explain(0, [PANIC, shutdown("guest-panic")], ""), False, True),
        (host_down(), False, True),
    ],
)
def test_who_wanted_it(end: Ending, wanted: bool, failed: bool) -> None:
    assert (end.wanted, end.failed) == (wanted, failed)


def test_a_panic_is_shown_only_where_it_is_the_reason() -> None:
    assert explain(0, [PANIC, shutdown("guest-panic")], "").panic == PANIC["data"]
    assert explain(0, [PANIC, PAUSED_PANIC, shutdown("guest-panic")], "").panic == PAUSED_PANIC["data"]
    assert explain(0, [PAUSED_PANIC, shutdown("host-qmp-quit")], "").panic is None
    assert explain(0, [shutdown("guest-panic")], "").panic is None


def test_as_it_is_kept() -> None:
    assert explain(0, [shutdown("guest-shutdown")], "").as_dict() == {
        "reason": "guest-shutdown",
        "detail": "the guest powered itself off",
        "status": 0,
    }
    assert host_down().as_dict() == {
        "reason": "host-down",
        "detail": "the host went down while the VM ran",
        "status": None,
    }
    assert explain(-9, [], "bye").as_dict() == {
        "reason": "signal",
        "detail": "QEMU was ended by signal 9 (SIGKILL)",
        "status": -9,
        "signal": 9,
        "words": "bye",
    }
    assert explain(0, [PANIC, shutdown("guest-panic")], "").as_dict()["panic"] == PANIC["data"]


def test_nothing_is_touched() -> None:
    events = [POWERDOWN, shutdown("guest-shutdown")]
    before = repr(events)
    explain(0, events, "")
    assert repr(events) == before
