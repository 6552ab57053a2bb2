# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits are woken by what they wait for, and end when it cannot come any more."""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
import time
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import Wait
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import processes
from ansible_collections.maqet.qemu.plugins.module_utils.host.watch import GrowingFile
from ansible_collections.maqet.qemu.plugins.module_utils.vm import awaited, revive, waiting
from ansible_collections.maqet.qemu.plugins.module_utils.vm.waiting import Watch
from ansible_collections.maqet.qemu.tests.unit.qmp.fakes import PATIENCE, Message
from ansible_collections.maqet.qemu.tests.unit.vm.world import FakeVm

SERIAL = Wait("serial", r"login: $")
STOP = Wait("event", "STOP")


def wait(vm: FakeVm, *waits: Wait, seconds: float = PATIENCE) -> list[Message]:
    with contextlib.closing(Watch(vm.where, "web", vm.actual(), waits, seconds)) as watch:
        watch.wait()
        return watch.events


def waited(vm: FakeVm, *waits: Wait) -> list[Message]:
    with contextlib.closing(Watch(vm.where, "web", vm.actual(), waits, PATIENCE)) as watch:
        watch.wait()
        return watch.waited


def fails(vm: FakeVm, *waits: Wait, seconds: float = PATIENCE) -> MaqetError:
    with pytest.raises(MaqetError) as caught:
        wait(vm, *waits, seconds=seconds)
    return caught.value


def say(vm: FakeVm, words: bytes) -> None:
    with open(vm.paths.serial_log, "ab") as file:
        file.write(words)


def once_it_waits(monkeypatch: pytest.MonkeyPatch, *acts: t.Callable[[], None]) -> None:
    """Do one thing after another, each when the wait has found nothing and goes to sleep."""
    real, todo = processes.wait_readable, iter(acts)

    def wait_readable(fds: t.Sequence[int], seconds: t.Optional[float]) -> list[int]:
        next(todo, lambda: None)()
        return real(fds, seconds)

    monkeypatch.setattr(waiting, "wait_readable", wait_readable)


def seen(number: int, name: str) -> Message:
    return {"seq": number, "event": name, "data": {}}


def test_serial_text_that_is_there(vm: FakeVm) -> None:
    vm.start()
    say(vm, b"Debian\n\nweb login: ")
    wait(vm, SERIAL)


def test_serial_text_that_comes(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.start()
    parts = [b"booting\n", b"web log", b"in:", b" "]
    once_it_waits(monkeypatch, *(lambda part=part: say(vm, part) for part in parts))
    wait(vm, SERIAL)


def test_two_waits_see_the_same_text(vm: FakeVm) -> None:
    vm.start()
    say(vm, b"one two")
    wait(vm, Wait("serial", "two"), Wait("serial", "one"))


def test_bytes_that_are_no_text(vm: FakeVm) -> None:
    vm.start()
    say(vm, b"\xff\xfe\x00 gr\xc3\xbc\xc3\x9fe\xff")
    wait(vm, Wait("serial", "grüße"))


@pytest.mark.parametrize("last_words", [b"", b"kernel panic\n"])
def test_qemu_ends_while_we_wait_for_text(vm: FakeVm, monkeypatch: pytest.MonkeyPatch, last_words: bytes) -> None:
    vm.start()

    def end() -> None:
        say(vm, last_words)
        vm.end()

    once_it_waits(monkeypatch, end)
    error = fails(vm, SERIAL)
    assert error.error_code == "vm_exited"
    assert str(error).startswith("wait_for: serial: login: $ cannot come any more, the VM has ended; last seen: ")
    assert last_words.decode().strip() in str(error)
    assert error.details["wait_for"] == "serial: login: $" and error.details["waited"] == []


def test_what_it_said_last_is_still_read(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.start()

    def end() -> None:
        vm.end()
        say(vm, b"login: ")

    once_it_waits(monkeypatch, end)
    wait(vm, SERIAL)


def test_text_that_does_not_come(vm: FakeVm) -> None:
    vm.start()
    say(vm, b"one\ntwo\n")
    begun = time.monotonic()
    error = fails(vm, SERIAL, seconds=0.3)
    assert error.error_code == "wait_timeout"
    assert "did not come within 0.3 s" in str(error)
    assert "last seen: the line 'two'." in str(error) and str(error).endswith("which ends with:\none\ntwo")
    assert error.details["last_seen"] == {"serial: login: $": "the line 'two'"}
    assert 0.3 <= time.monotonic() - begun < 30


def test_an_event_that_has_come(vm: FakeVm) -> None:
    """Events count from the start of this QEMU: the second run of a task finds what the first one found."""
    vm.start()
    vm.events = [seen(1, "RESUME"), seen(2, "STOP"), seen(3, "RESUME")]
    found = waited(vm, STOP, Wait("event", "RESUME"))
    assert [(entry["wait"], entry["found"]["seq"]) for entry in found] == [("event: STOP", 2), ("event: RESUME", 1)]


def test_an_event_that_does_not_come(vm: FakeVm) -> None:
    vm.start()
    vm.events = [seen(1, "RESUME")]
    error = fails(vm, STOP, seconds=0.3)
    assert (error.error_code, error.details["last_seen"]) == ("wait_timeout", {"event: STOP": "the event RESUME"})


@pytest.mark.parametrize(("dies", "code"), [(True, "vm_exited"), (False, "runner_unreachable")])
def test_the_runner_goes_while_we_wait(vm: FakeVm, monkeypatch: pytest.MonkeyPatch, dies: bool, code: str) -> None:
    monkeypatch.setattr(revive, "_LISTENING", 0.3)
    vm.start()
    with contextlib.closing(Watch(vm.where, "web", vm.actual(), [STOP], PATIENCE)) as watch:

        def go() -> None:
            if dies:
                vm.end()
            vm.hang_up()

        thread = threading.Thread(target=go)
        thread.start()
        with pytest.raises(MaqetError) as caught:
            watch.wait()
        thread.join()
    assert caught.value.error_code == code


def test_the_end(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.start()
    once_it_waits(monkeypatch, vm.end)
    wait(vm, Wait("exit"))
    assert vm.actual().qemu is None


def test_an_end_that_has_come(vm: FakeVm) -> None:
    vm.start()
    actual = vm.actual()
    vm.end()
    with contextlib.closing(Watch(vm.where, "web", actual, [Wait("exit")], PATIENCE)) as watch:
        watch.wait()


def test_an_end_that_does_not_come(vm: FakeVm) -> None:
    vm.start()
    error = fails(vm, Wait("exit"), seconds=0.3)
    assert (error.error_code, error.details["wait_for"]) == ("wait_timeout", "exit")


def test_running(vm: FakeVm) -> None:
    vm.start("running")
    assert wait(vm, Wait("running")) == []


def test_running_soon(vm: FakeVm) -> None:
    vm.start("paused")
    vm.events = [seen(1, "RESUME"), seen(2, "STOP")]
    vm.after_status = [{"event": seen(3, "RESUME")}]
    assert wait(vm, Wait("running"))[-1] == seen(3, "RESUME")


def test_a_resume_between_two_looks_is_not_missed(vm: FakeVm) -> None:
    """The status says paused; before we can ask again the guest runs, and its event has been sent."""
    vm.start("paused")
    actual = vm.actual()

    def resume() -> None:
        vm.run_state = "running"
        vm.events = [seen(1, "RESUME")]

    vm.after_status = [{"event": seen(1, "RESUME")}]
    vm.on_status = resume
    with contextlib.closing(Watch(vm.where, "web", actual, [Wait("running")], 5)) as watch:
        watch.wait()
        assert watch.events == [seen(1, "RESUME")]


def test_not_running(vm: FakeVm) -> None:
    vm.start("paused")
    assert fails(vm, Wait("running"), seconds=0.3).error_code == "wait_timeout"


def test_no_descriptor_is_left(vm: FakeVm) -> None:
    vm.start()
    say(vm, b"login: ")
    before = len(os.listdir("/proc/self/fd"))
    wait(vm, SERIAL)
    fails(vm, Wait("serial", "never"), seconds=0.1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_text_that_scrolled_by(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A match may span what is kept, and no more."""
    monkeypatch.setattr(awaited, "_WINDOW", 10)
    vm.start()
    once_it_waits(monkeypatch, lambda: say(vm, b"n: "), lambda: say(vm, b"x" * 20 + b"login: "))
    pathlib.Path(vm.paths.serial_log).write_bytes(b"logi" + b"x" * 20 + b"logi")
    wait(vm, SERIAL)


@pytest.mark.parametrize("ended", [False, True])
def test_text_that_much_has_come_after(vm: FakeVm, monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    """The whole log counts, and is read piece by piece: it is as long as the guest likes."""
    monkeypatch.setattr(awaited, "_WINDOW", 1000)
    vm.start()
    read: list[int] = []
    pieces = GrowingFile.read

    def counted(log: GrowingFile, *most: int) -> bytes:
        data = pieces(log, *most)
        read.append(len(data))
        return data

    monkeypatch.setattr(GrowingFile, "read", counted)
    early, end = b"x" * 1500 + b"ready", b"y" * 4494 + b"z"
    say(vm, early + end + b"x" * 100_000 + b"z")
    waits = [Wait("serial", "ready"), Wait("serial", "z$")]
    with contextlib.closing(Watch(vm.where, "web", vm.actual(), waits, PATIENCE)) as watch:
        if ended:
            vm.end()
        watch.wait()
        first, second = watch.waited
    assert (first["found"], second["found"], max(read)) == ("ready", "z", 1000)
    assert sum(read) > 100_000, "a piece that ends with a z is not the end"


def test_the_first_that_is_late_ends_the_task_and_the_others_are_told(vm: FakeVm) -> None:
    """Each has its own time-out; what has come until then is in the result."""
    vm.start()
    say(vm, b"one\n")
    error = fails(vm, Wait("serial", "one"), Wait("exit"), Wait("serial", "two", timeout=0.2))
    assert error.error_code == "wait_timeout" and error.details["wait_for"] == "serial: two"
    assert "did not come within 0.2 s" in str(error) and "Still open: exit (QEMU runs)." in str(error)
    (found,) = error.details["waited"]
    assert (found["wait"], found["found"]) == ("serial: one", "one") and 0 <= found["seconds"] < 1


def test_waits_are_side_by_side(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes second is seen when it comes, whatever stands first in the list."""
    vm.start()
    once_it_waits(monkeypatch, lambda: say(vm, b"two"), lambda: say(vm, b"one"), vm.end)
    found = waited(vm, Wait("exit"), Wait("serial", "one"), Wait("serial", "two"))
    assert [entry["wait"] for entry in found] == ["serial: two", "serial: one", "exit"]


def test_an_end_is_the_end_of_all_others(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.start()
    once_it_waits(monkeypatch, vm.end)
    assert fails(vm, Wait("exit"), SERIAL).error_code == "vm_exited"


def test_cloud_init_has_finished(vm: FakeVm, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.start()
    say(
        vm,
        b"[   11.5] cloud-init[411]: Cloud-init v. 22.4.2 running 'modules:final' at Wed, 25 Nov. Up 11.5 seconds.\r\n",
    )
    error = fails(vm, Wait("cloud_init", timeout=0.1))
    assert "last seen: Cloud-init v. 22.4.2 running 'modules:final'" in str(error)
    end = (
        b"cloud-init[411]: Cloud-init v. 22.4.2 finished at Wed, 25 Nov. Datasource DataSourceNoCloud. Up 12.5 seconds"
    )
    once_it_waits(monkeypatch, lambda: say(vm, end), lambda: say(vm, b"\r\n"))
    (found,) = waited(vm, Wait("cloud_init"))
    assert found["found"].startswith("Cloud-init v. 22.4.2 finished") and found["found"].endswith("12.5 seconds")
