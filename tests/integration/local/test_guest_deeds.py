# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""maqet_guest beyond single commands, on a real qemu-ga: in check mode, for real, and again."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Local, Result, given, remove

CONSENT = {"allow_dangerous": True}
SECRET = "Tr0ub4dor-and-3"


@pytest.fixture(scope="module")
def wanted(agent_guest: Result) -> Result:
    """Options of a VM whose guest has an agent."""
    return {**agent_guest, "networks": [{"type": "user"}]}


@pytest.fixture(scope="module")
def vm(wanted: Result, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    """A VM whose agent answers and whose disk has a file system at /mnt, shared by the tests of this file."""
    chosen = f"test-{uuid.uuid4().hex[:8]}"
    disk = tmp_path_factory.mktemp("disk") / "ext4"
    with open(disk, "wb") as file:
        file.truncate(32 * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True)
    given(chosen, **wanted, disks=[{"path": str(disk), "format": "raw"}], wait_for="agent", timeout=120)
    program(chosen, "mkdir /mnt && mount -t ext4 /dev/vda /mnt")
    yield chosen
    remove(chosen)


def program(vm: str, script: str) -> str:
    """What a script writes in the guest."""
    argv = ["/bin/sh", "-c", script]
    return str(modules.must("maqet_guest", vm=vm, exec={"argv": argv}, timeout=60, **CONSENT)["stdout"])


Run = t.Callable[..., t.List[Result]]  # Local.run or Local.play


def thrice(run: Run, vm: str, **task: t.Any) -> tuple[Result, Result, Result]:
    """A task in check mode, for real, and again: the first tells the truth, the last changes nothing."""
    one: Result = {"maqet_guest": {"vm": vm, "timeout": 60, **task}}
    told, done, again = run({**one, "check_mode": True}, one, one)
    for result in (told, done, again):
        assert not result["failed"], result
    assert told["changed"] is True and done["changed"] is True and again["changed"] is False
    assert verify(layout().vm(vm).audit_log).ok
    return told, done, again


def test_put_a_file(local: Local, vm: str) -> None:
    """With its mode, which is set before a word of it is there; what is the same is left alone."""
    told, done, again = thrice(
        local.play, vm, put={"content": f"{SECRET}\n", "dest": "/mnt/token", "mode": "0600"}, **CONSENT
    )
    assert (
        told["checksum"] == done["checksum"] == again["checksum"] == hashlib.sha256(f"{SECRET}\n".encode()).hexdigest()
    )
    assert program(vm, "cat /mnt/token; stat -c %a /mnt/token") == f"{SECRET}\n600\n"
    kinds = [record["op"] for record in done["audit"] if record["phase"] == "intent"]
    assert kinds.index("guest-exec") < kinds.index("guest-file-write")
    assert "guest-file-write" not in [record["op"] for record in [*told["audit"], *again["audit"]]]
    for text in (done["output"], Path(layout().vm(vm).audit_log).read_text("utf-8")):
        assert SECRET not in text and base64.b64encode(f"{SECRET}\n".encode()).decode() not in text
    mode, _same, _same = thrice(
        local.run, vm, put={"content": f"{SECRET}\n", "dest": "/mnt/token", "mode": "0640"}, **CONSENT
    )
    assert mode["size"] == len(SECRET) + 1 and program(vm, "stat -c %a /mnt/token") == "640\n"


def test_put_a_large_file_and_get_it_back(local: Local, vm: str, tmp_path: Path) -> None:
    """In pieces; every byte arrives, both ways. A shorter one leaves nothing of the longer."""
    data = bytes(range(256)) * 10_000 + b"end"
    source, dest = tmp_path / "source", tmp_path / "dest"
    source.write_bytes(data)
    thrice(local.run, vm, put={"src": str(source), "dest": "/mnt/large"}, **CONSENT)
    assert program(vm, "sha256sum </mnt/large").split()[0] == hashlib.sha256(data).hexdigest()
    told, fetched, _again = thrice(local.run, vm, get={"path": "/mnt/large", "dest": str(dest)}, **CONSENT)
    assert dest.read_bytes() == data and fetched["size"] == len(data) == told["size"]
    assert dest.stat().st_mode & 0o777 == 0o600
    source.write_bytes(data[:1000])
    thrice(local.run, vm, put={"src": str(source), "dest": "/mnt/large"}, **CONSENT)
    assert program(vm, "wc -c </mnt/large").strip() == "1000"
    assert program(vm, "ls -l /proc/$(pidof qemu-ga || pgrep -f qemu-ga | head -1)/fd | grep -c /mnt || true") == "0\n"


def test_get_and_its_limits(local: Local, vm: str, tmp_path: Path) -> None:
    """The content as slurp returns it; what is too large, missing or no file is an error, and closed."""
    program(vm, "printf 'gr\\303\\274n' >/mnt/word; dd if=/dev/zero of=/mnt/zeros bs=1024 count=5; : >/mnt/empty")
    word, empty, large, missing, folder, nowhere, refused = local.run(
        *(
            {"maqet_guest": {"vm": vm, **task}}
            for task in (
                {"get": {"path": "/mnt/word"}, **CONSENT},
                {"get": {"path": "/mnt/empty"}, **CONSENT},
                {"get": {"path": "/mnt/zeros", "limit": "4K"}, **CONSENT},
                {"get": {"path": "/mnt/none"}, **CONSENT},
                {"get": {"path": "/mnt"}, **CONSENT},
                {"get": {"path": "/mnt/word", "dest": str(tmp_path / "no" / "where")}, **CONSENT},
                {"get": {"path": "/mnt/word"}},
            )
        )
    )
    assert base64.b64decode(word["content"]).decode() == "grün" and word["encoding"] == "base64"
    assert word["changed"] is False and empty["content"] == "" and empty["size"] == 0
    assert large["error_code"] == "guest_reply_too_large" and "limit" in large["msg"]
    assert missing["error_code"] == "guest_error" and "No such file" in missing["guest_desc"]
    assert folder["error_code"] == "guest_error"
    assert nowhere["error_code"] == "invalid_option" and nowhere["option"] == "get.dest"
    assert refused["error_code"] == "policy_denied" and "allow_dangerous" in refused["msg"]
    assert program(vm, "ls -l /proc/$(pgrep -f qemu-ga | head -1)/fd | grep -c /mnt || true") == "0\n"


def test_put_where_it_cannot_be(local: Local, vm: str) -> None:
    """Refused before anything, by the guest, and by the guard."""
    put: Result = {"content": "words", "dest": "/mnt/x"}
    relative, mode, nowhere, refused, checked, both = local.run(
        *(
            {"maqet_guest": {"vm": vm, **task}, **more}
            for task, more in (
                ({"put": {**put, "dest": "x"}, **CONSENT}, {}),
                ({"put": {**put, "mode": "u+x"}, **CONSENT}, {}),
                ({"put": {**put, "dest": "/none/x"}, **CONSENT}, {}),
                ({"put": put}, {}),
                ({"put": put}, {"check_mode": True}),
                ({"put": put, "time_sync": True}, {}),
            )
        )
    )
    assert [one["option"] for one in (relative, mode)] == ["put.dest", "put.mode"]
    assert nowhere["error_code"] == "guest_error" and nowhere["changed"] is False and nowhere["incomplete"] is False
    assert refused["error_code"] == checked["error_code"] == "policy_denied"
    assert "mutually exclusive" in both["msg"]


def test_freezing(local: Local, vm: str) -> None:
    """Frozen, who writes waits; thawed, it is written. A task between can look."""
    _told, frozen, again = thrice(local.run, vm, fsfreeze="frozen")
    assert (frozen["fsfreeze"], frozen["filesystems"], again["fsfreeze"]) == ("frozen", 1, "frozen")
    assert any("guest-fsfreeze-freeze" in text for text in frozen["warnings"])
    (blocked,) = local.run({"maqet_guest": {"vm": vm, "addresses": True}})
    assert blocked["error_code"] == "guest_error", "the agent does little else"
    _told, thawed, _again = thrice(local.run, vm, fsfreeze="thawed")
    assert thawed["filesystems"] == 1
    assert program(vm, "echo new >/mnt/new && cat /mnt/new") == "new\n"


def test_nothing_to_freeze(local: Local, vm: str) -> None:
    """Said, not passed over."""
    program(vm, "umount /mnt")
    (result,) = local.run({"maqet_guest": {"vm": vm, "fsfreeze": "frozen"}})
    program(vm, "mount -t ext4 /dev/vda /mnt")
    assert result["error_code"] == "guest_error" and "thawed after guest-fsfreeze-freeze" in result["msg"]
    assert result["changed"] is False


def test_addresses(local: Local, vm: str) -> None:
    """In one form, also in check mode, which changes nothing as little."""
    task: Result = {"maqet_guest": {"vm": vm, "addresses": True}}
    for result in local.run(task, {**task, "check_mode": True}):
        assert result["changed"] is False and not result["failed"], result
        (mine,) = [one for one in result["addresses"] if one["address"] == "10.0.2.15"]
        assert (mine["interface"], mine["family"], mine["prefix"]) == ("eth0", "ipv4", 24)
        assert mine["mac"].startswith("52:54:00:")
    (explained,) = local.run({"maqet_guest": {"vm": vm, "addresses": True, "explain": True}})
    assert [verdict["class"] for verdict in explained["decisions"]] == ["read"] and "addresses" not in explained


def test_the_time(local: Local, vm: str) -> None:
    """A guest an hour behind gets the host's time; one that is right is left alone."""
    program(vm, "date -s @$(($(date +%s) - 3600))")
    told, done, again = thrice(local.run, vm, time_sync=True)
    assert -3610 < done["offset"] < -3590 and -3610 < told["offset"] < -3590
    assert abs(again["offset"]) <= 0.5


@pytest.mark.parametrize(
    ("mode", "event"), [("reboot", "RESET"), ("halt", "VSERPORT_CHANGE"), ("powerdown", "SHUTDOWN")]
)
def test_shutdown(local: Local, name: str, wanted: Result, mode: str, event: str) -> None:
    """Nothing in check mode; for real, QEMU's own word that it is done."""
    given(name, **wanted, wait_for="agent", timeout=120)
    one: Result = {"maqet_guest": {"vm": name, "shutdown": mode, "timeout": 60}}
    told, done = local.run({**one, "check_mode": True}, one)
    assert told["changed"] is True and told["audit"] == [] and "event" not in told
    assert not done["failed"] and done["event"]["event"] == event, done
    assert done["changed"] is True and any("guest-shutdown" in text for text in done["warnings"])
    if mode == "powerdown":
        assert given(name, state="stopped")["vm"]["last_exit"]["reason"] == "guest-shutdown"
