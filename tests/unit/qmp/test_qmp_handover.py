# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open files handed to a monitor: QEMU's names for them reach the command, and nothing is left on either side."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import How, Passed
from ansible_collections.maqet.qemu.plugins.module_utils.qmp import handover
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Answer, Descriptors, FakeMonitor, Refusal


@pytest.fixture
def socket_path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "direct.sock")


def opened(folder: pathlib.Path, arguments: dict[str, t.Any], key: str, how: How) -> Passed:
    """A new file, whose name for QEMU goes to ``arguments[key]``."""
    fd = os.open(folder / key, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return Passed(fd, how, lambda text: arguments.update({key: text}))


def closed(*passed: Passed) -> bool:
    return not any(os.path.exists(f"/proc/self/fd/{one.fd}") for one in passed)


@pytest.mark.parametrize("answer", [{}, None, [], {"fd": "x", "fdset-id": 1}, {"fd": 4}])
def test_an_answer_that_is_none(answer: t.Any) -> None:
    with pytest.raises(MaqetError, match="did not say under which number"):
        handover.settle(Passed(0, "procfd", lambda _text: None), "x", answer)


def test_the_command_gets_the_names_that_qemu_gave(socket_path: str, tmp_path: pathlib.Path) -> None:
    arguments: dict[str, t.Any] = {"keep": 1}
    kinds: dict[str, How] = {"a": "procfd", "b": "fdset", "c": "getfd"}
    passed = [opened(tmp_path, arguments, key, how) for key, how in kinds.items()]
    files = [((status := os.fstat(one.fd)).st_dev, status.st_ino) for one in passed]
    theirs = Descriptors()
    with FakeMonitor(socket_path, {**theirs.answers, "send-key": {"a": 1}}) as fake:
        with DirectMonitor(socket_path, PATIENCE) as monitor:
            assert monitor.execute("send-key", arguments, passed) == {"a": 1}
            assert closed(*passed)
        fake.hung_up.get(timeout=PATIENCE)
    assert arguments == {"keep": 1, "a": "/proc/self/fd/40", "b": "/dev/fdset/8", "c": "maqet-2"}
    assert fake.commands == ["add-fd", "add-fd", "getfd", "send-key", "remove-fd", "remove-fd", "closefd"]
    assert fake.received[3]["arguments"] == arguments
    assert theirs.seen == list(zip(["add-fd", "add-fd", "getfd"], files))
    assert not theirs.sets and not theirs.names


def test_a_name_that_the_command_consumed(socket_path: str, tmp_path: pathlib.Path) -> None:
    """closefd fails then: no reason to fail."""
    arguments: dict[str, t.Any] = {}
    answers = {**Descriptors().answers, "closefd": Refusal("GenericError", "not found")}
    with FakeMonitor(socket_path, answers) as fake, DirectMonitor(socket_path, PATIENCE) as monitor:
        assert monitor.execute("netdev_add", arguments, [opened(tmp_path, arguments, "fd", "getfd")]) == {}
    assert fake.commands == ["getfd", "netdev_add", "closefd"]


@pytest.mark.parametrize(
    ("answers", "error", "commands"),
    [
        ({"pmemsave": Refusal("GenericError", "no")}, QmpError, ["add-fd", "add-fd", "pmemsave"] + ["remove-fd"] * 2),
        ({"add-fd": Refusal("GenericError", "no")}, MaqetError, ["add-fd"]),
        ({"add-fd": {"fd": 1}}, MaqetError, ["add-fd"]),
        ({"add-fd": lambda client, _message: client.close()}, MaqetError, ["add-fd"]),
        ({"add-fd": lambda _client, _message: None}, MaqetError, ["add-fd"]),
        ({"pmemsave": lambda _client, _message: None}, MaqetError, ["add-fd", "add-fd", "pmemsave"]),
    ],
    ids=["refused", "not taken", "nonsense", "gone", "late", "command late"],
)
def test_what_goes_wrong(
    socket_path: str,
    tmp_path: pathlib.Path,
    answers: dict[str, Answer],
    error: type[Exception],
    commands: list[str],
) -> None:
    before = os.listdir("/proc/self/fd")
    arguments: dict[str, t.Any] = {}
    passed = [opened(tmp_path, arguments, key, "procfd") for key in ("a", "b")]
    theirs = Descriptors()
    with (
        FakeMonitor(socket_path, {**theirs.answers, **answers}) as fake,
        pytest.raises(error),
        DirectMonitor(socket_path, 0.5) as monitor,
    ):
        monitor.execute("pmemsave", arguments, passed)
    assert fake.commands == commands
    for fd in theirs.sets.values():  # QEMU did not answer, so it could not be asked to let go
        os.close(fd)
    assert os.listdir("/proc/self/fd") == before


def test_a_long_message_with_a_descriptor(socket_path: str, tmp_path: pathlib.Path) -> None:
    """sendmsg(2) may take a part only; the rest follows."""
    with (
        FakeMonitor(socket_path, Descriptors().answers) as fake,
        DirectMonitor(socket_path, PATIENCE) as monitor,
        open(tmp_path / "x", "wb") as file,
    ):
        monitor._lines.send({"execute": "send-key", "arguments": {"keys": "x" * 5_000_000}}, file.fileno())
        assert monitor._next() == {"return": {}}
    assert len(fake.received[0]["arguments"]["keys"]) == 5_000_000
