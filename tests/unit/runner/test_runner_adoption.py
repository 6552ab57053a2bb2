# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding a QEMU beyond doubt, and putting in order what another runner left in it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.events import EventFile
from ansible_collections.maqet.qemu.plugins.module_utils.runner import adoption
from ansible_collections.maqet.qemu.plugins.module_utils.runner.errand import OPAQUE
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import UUID, Message, Refusal
from ansible_collections.maqet.qemu.tests.unit.runner.household import FACTS, House

OTHER = UUID[:-1] + "9"


def find(house: House, **changes: t.Any) -> t.Any:
    found = adoption.find(house.define(), house.paths, {**house.status(), **changes})
    if found is not None:
        found.close()
    return found


def test_nothing_lives(house: House) -> None:
    assert find(house) is None
    house.know("ready")
    assert find(house) is None


def test_by_its_status(house: House) -> None:
    qemu = house.run_qemu()
    house.know("ready", qemu)
    found = find(house)
    assert found.process == qemu.process and found.popen is None
    assert found.facts == {"pid": qemu.process.pid, "start": qemu.process.start, **FACTS}
    assert found.program == f"/proc/{qemu.process.pid}/exe"


@pytest.mark.parametrize("entry", [None, {}, {"pid": 1, "start": 1}, {"pid": "x", "start": None}, 5, [1]])
def test_by_its_command_line(house: House, entry: t.Any) -> None:
    """The status is lost, or of another process; then the command line says what there is to know."""
    qemu = house.run_qemu()
    found = find(house, qemu=entry)
    assert found.process == qemu.process
    assert found.facts == {
        "pid": qemu.process.pid,
        "start": qemu.process.start,
        "binary": "/usr/bin/qemu-system-x86_64",
        "accel": "tcg",
        "uid": os.getuid(),
    }


def test_a_process_that_is_no_qemu_is_not_believed(house: House) -> None:
    """A pid and start time that a status names, of a process whose command line does not agree."""
    with open("/proc/self/stat", "rb") as file:
        start = int(file.read().rpartition(b")")[2].split()[19])
    assert find(house, qemu={"pid": os.getpid(), "start": start}) is None


def test_something_holds_its_log(house: House) -> None:
    fd = os.open(house.paths.qemu_log, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(MaqetError, match=r"It is left alone\. Look at 'fuser ") as caught:
            find(house)
        assert caught.value.error_code == "qemu_unidentified"
        qemu = house.run_qemu()
        assert find(house).process == qemu.process, "one that is known beyond doubt may hold it"
    finally:
        os.close(fd)
    house.qemus[0].kill()
    assert find(house) is None


def test_one_of_another_uuid(house: House) -> None:
    """Of a VM of the same name that was defined before: neither ours nor nothing."""
    qemu = house.run_qemu()
    house.know("ready", qemu)
    definition = house.define()
    other = type(definition)("web", OTHER, {})
    with pytest.raises(MaqetError) as caught:
        adoption.find(other, house.paths, house.status())
    assert caught.value.error_code == "qemu_unidentified"
    assert qemu.process.alive()


def test_no_descriptor_is_left(house: House) -> None:
    qemu = house.run_qemu()
    house.know("ready", qemu)
    before = sorted(os.listdir("/proc/self/fd"))
    assert find(house) is not None
    assert sorted(os.listdir("/proc/self/fd")) == before


def connect(house: House) -> Session:
    session = Session("web", EventFile(house.paths.events))

    async def whole() -> None:
        try:
            await adoption.connect(session, house.define(), house.paths)
        finally:
            await session.close()

    asyncio.run(whole())
    return session


def test_connecting(house: House) -> None:
    house.answers = {"query-status": {"status": "paused", "running": False}, "query-fdsets": []}
    qemu = house.run_qemu()
    session = connect(house)
    (event,) = session.events(0)
    stamp = event.pop("timestamp")
    assert event == {"event": adoption.EVENT, "data": {"run_state": "paused"}, "seq": 1}
    assert set(stamp) == {"seconds", "microseconds"} and 0 <= stamp["microseconds"] < 1_000_000
    assert qemu.asked == []


@pytest.mark.parametrize("answer", [{"UUID": OTHER}, {}, {"UUID": UUID.upper()}])
def test_what_answers_is_another(house: House, answer: Message) -> None:
    house.answers = {"query-uuid": answer}
    qemu = house.run_qemu()
    with pytest.raises(MaqetError, match="what answers at its monitor has the uuid") as caught:
        connect(house)
    assert caught.value.error_code == "qemu_unidentified"
    assert qemu.asked == [] and EventFile(house.paths.events).load() == []


@pytest.mark.parametrize("how", ["nobody", "silence", "nonsense", "refusal", "hangs up"])
def test_a_monitor_that_does_not_answer(house: House, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(adoption, "_GREETING", 0.3)
    if how == "silence":
        house.greeting = b""
    if how == "nonsense":
        house.greeting = b"SSH-2.0\n"
    if how == "refusal":
        house.answers = {"query-uuid": Refusal("GenericError", "no")}
    if how == "hangs up":
        house.answers = {"query-uuid": lambda client, _message: client.end()}
    if how != "nobody":
        house.run_qemu()
    with pytest.raises(MaqetError) as caught:
        connect(house)
    assert caught.value.error_code == ("qemu_gone" if how == "hangs up" else "monitor_unreachable")
    assert how == "hangs up" or ". It is left as it is. 'maqet_vm: state=restarted force=true' ends" in str(
        caught.value
    )
    assert how != "silence" or "does not answer: no greeting. It is" in str(caught.value)


def fdset(number: int, *opaques: t.Optional[str]) -> Message:
    fds = [{"fd": 40 + index, **({} if name is None else {"opaque": name})} for index, name in enumerate(opaques)]
    return {"fdset-id": number, "fds": fds}


def test_files_of_the_runner_before_are_closed(house: House) -> None:
    """Not those that QEMU was started with, or that somebody else has given it."""
    sets = [
        fdset(1, "disk-root"),
        fdset(2, f"{OPAQUE}1"),
        fdset(3, f"{OPAQUE}2", f"{OPAQUE}3"),
        fdset(4, f"{OPAQUE}4", "theirs"),
        fdset(5, None),
        fdset(6),
        fdset(7, f"x{OPAQUE}1"),
    ]
    house.answers = {"query-fdsets": sets}
    qemu = house.run_qemu()
    connect(house)
    removed = [message["arguments"] for message in qemu.monitor.received if message["execute"] == "remove-fd"]
    assert removed == [{"fdset-id": 2}, {"fdset-id": 3}]


@pytest.mark.parametrize(
    "answer", [Refusal("CommandNotFound", "no"), [{}], [5], {"x": 1}, [fdset(1, f"{OPAQUE}1")]], ids=str
)
def test_tidying_is_no_reason_to_fail(house: House, answer: t.Any) -> None:
    house.answers = {"query-fdsets": answer, "remove-fd": Refusal("GenericError", "in use")}
    house.run_qemu()
    assert [event["event"] for event in connect(house).events(0)] == [adoption.EVENT]
