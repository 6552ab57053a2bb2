# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that pass through maqet_qmp are nowhere afterwards: every channel is searched for every one of them.

Each secret holds a word of its own that occurs nowhere else, so it is found however it is quoted, and each
channel has a harmless word that must be found in it: a search that cannot find anything proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import typing as t
import uuid
from pathlib import Path

from ansible_collections.maqet.qemu.plugins.module_utils.guard.chain import read, verify
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.tests.hosts import play
from ansible_collections.maqet.qemu.tests.integration.local.conftest import Local, Result, given, state_of

SYSLOG = "/dev/log"

# S stands for the secret of the case: see `Secrets`.
S = "@SECRET@"
CASES: dict[str, Result] = {
    "set_password": {"command": "set_password", "arguments": {"protocol": "vnc", "password": S}},
    "set_password of a number": {"command": "set_password", "arguments": {"protocol": "vnc", "password": [S]}},
    "change-vnc-password": {"command": "change-vnc-password", "arguments": {"password": S}},
    "secret object": {"command": "object-add", "arguments": {"qom-type": "secret", "id": "s0", "data": S}},
    "unknown object": {"command": "object-add", "arguments": {"qom-type": "no-such", "id": "s1", "thing": S}},
    "url": {
        "command": "blockdev-add",
        "arguments": {"driver": "https", "node-name": "n0", "url": f"https://bob:{S}@127.0.0.1:1/x"},
    },
    "cookie": {
        "command": "blockdev-add",
        "arguments": {
            "driver": "raw",
            "node-name": "n1",
            "file": {"driver": "https", "url": "https://127.0.0.1:1/x", "cookie": f"session={S}"},
        },
    },
    "json file name": {
        "command": "blockdev-add",
        "arguments": {"driver": "file", "node-name": "n2", "filename": f'json:{{"file.cookie": "{S}"}}'},
    },
    "backing file": {
        "command": "change-backing-file",
        "arguments": {"device": "d", "image-node-name": "n", "backing-file": f"ftp://u:{S}@h/x"},
    },
    "human monitor": {"command": "human-monitor-command", "arguments": {"command-line": f"set_password vnc {S}"}},
    "human monitor, key": {"command": "human-monitor-command", "arguments": {"command-line": f"sendkey {S}"}},
    "human monitor, object": {
        "command": "human-monitor-command",
        "arguments": {"command-line": f"object_add secret,id=s2,data={S}"},
    },
    "human monitor, nonsense": {"command": "human-monitor-command", "arguments": {"command-line": f"nonsense {S}"}},
    "qom-set": {"command": "qom-set", "arguments": {"path": "/objects/x", "property": "data", "value": S}},
    "send-key": {"command": "send-key", "arguments": {"keys": [{"type": "qcode", "data": S}]}},
    "input-send-event": {
        "command": "input-send-event",
        "arguments": {"events": [{"type": "key", "data": {"down": True, "key": {"type": "qcode", "data": S}}}]},
    },
    "migrate": {"command": "migrate", "arguments": {"uri": f"exec:cat {S}"}},
    "migrate channels": {
        "command": "migrate",
        "arguments": {"channels": [{"channel-type": "main", "addr": {"transport": "exec", "args": [S]}}]},
    },
    "sev": {"command": "sev-inject-launch-secret", "arguments": {"packet-header": S, "secret": S}},
    "device": {"command": "device_add", "arguments": {"driver": "isa-applesmc", "osk": S}},
    "netdev": {"command": "netdev_add", "arguments": {"type": "bridge", "id": "n0", "helper": S}},
    "ringbuf": {"command": "ringbuf-write", "arguments": {"device": "nothing", "data": S}},
    "transaction": {
        "command": "transaction",
        "arguments": {"actions": [{"type": "blockdev-add", "data": {"driver": "https", "cookie": S}}]},
    },
    "transaction of what is none": {
        "command": "transaction",
        "arguments": {"actions": [{"type": "set_password", "data": {"password": S}}, {"type": "x", "data": {"a": S}}]},
    },
    "misspelt command": {"command": "set_pasword", "arguments": {"protocol": "vnc", "password": S}},
    "misspelt argument": {"command": "set_password", "arguments": {"protocol": "vnc", "pasword": S}},
    "misspelt option": {"command": "set_password", "argument": {"password": S}},
    "arguments that are none": {"command": "set_password", "arguments": S},
    "list": {
        "commands": [
            {"command": "query-status"},
            {"command": "set_password", "arguments": {"protocol": "vnc", "password": S}},
        ]
    },
    "list with a misspelt option": {"commands": [{"command": "set_password", "argument": {"password": S}}]},
    "list of texts": {"commands": [f"set_password {S}"]},
    "name that is none": {"command": "set_password vnc", "arguments": {"password": S}},
}
# What is put around the word of a secret: quotes and escapes hide it from a search for the whole, length cuts it.
DRESSES = {
    "plain": "{}",
    "quotes": 'a\'b"c\\{}\\"d',
    "control": "x\n\t\u00e4\x7f{}",
    "NUL": "n\0{}",
    "long": "L" * 90 + "{}" + "M" * 90,
}


class Secrets:
    """Makes a secret for each place that needs one, and remembers the word in it."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.values: dict[str, str] = {}

    def fill(self, value: t.Any, name: str, dress: str) -> t.Any:
        """``value`` with a variable in the place of the secret: it is in a file, and not in the playbook."""
        if isinstance(value, str) and S in value:
            if name not in self.values:
                self.words[name] = f"w{uuid.uuid4().hex}"
                self.values[name] = DRESSES[dress].format(self.words[name])
            return value.replace(S, f"{{{{ secrets['{name}'] }}}}")
        if isinstance(value, dict):
            return {key: self.fill(item, name, dress) for key, item in value.items()}
        return [self.fill(item, name, dress) for item in value] if isinstance(value, list) else value


class Watch:
    """Reads the command lines and environments of all processes again and again while a play runs."""

    def __init__(self, words: t.Iterable[str]) -> None:
        self._words = [word.encode() for word in words]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.seen: set[bytes] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        mine = str(os.getpid())
        while not self._end.wait(0.05):  # a sample: who runs for a moment may be missed
            for entry in (entry for entry in os.listdir("/proc") if entry.isdigit() and entry != mine):
                for file in ("cmdline", "environ"):
                    with contextlib.suppress(OSError):
                        text = Path("/proc", entry, file).read_bytes()
                        self.seen.update(word for word in self._words if word in text)


@contextlib.contextmanager
def syslog() -> t.Iterator[list[bytes]]:
    """What is sent to syslog meanwhile. Yields nothing usable where this machine has a syslog of its own."""
    lines: list[bytes] = []
    if os.path.lexists(SYSLOG):
        yield lines
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(SYSLOG)

        def collect() -> None:
            while line := receiver.recv(1 << 20):
                lines.append(line)

        thread = threading.Thread(target=collect)
        thread.start()
        try:
            yield lines
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(SYSLOG)
                sender.send(b"")
            thread.join()
            os.unlink(SYSLOG)


def tasks(name: str, secrets: Secrets, control: str) -> list[Result]:
    """Every case, both ways, with and without consent, in every dress that matters; one of them asynchronous."""
    made = []
    for odd, (case, options) in ((bool(number % 2), item) for number, item in enumerate(CASES.items())):
        for mode, dress in (("ipc", "quotes" if odd else "plain"), ("direct", "long" if odd else "quotes")):
            consent = (mode == "ipc") == odd and "migrate" not in case  # a migration would end the VM
            filled = secrets.fill(options, f"{case} {mode}", dress)
            reason = secrets.fill(f"{control} because {S}", f"{case} {mode}", dress)
            made.append({"vm": name, "mode": mode, "allow_dangerous": consent, "reason": reason, **filled})
    for dress in ("control", "NUL"):
        for case in ("set_password", "list", "human monitor", "misspelt command"):
            made.append({"vm": name, "reason": control, **secrets.fill(CASES[case], f"{case} {dress}", dress)})
    later = secrets.fill({"vm": name, **CASES["set_password"]}, "async", "quotes")
    wait = {"ansible.builtin.async_status": {"jid": "{{ job.ansible_job_id }}"}, "name": "wait", "register": "done"}
    plays: list[Result] = [
        # First, for Ansible's wrapper of it removes its own files some seconds after the job has ended.
        {"maqet.qemu.maqet_qmp": later, "name": "async", "async": 60, "poll": 0, "register": "job"},
        {**wait, "until": "done is finished", "retries": 60, "delay": 1},
    ]
    plays += [{"maqet.qemu.maqet_qmp": options, "name": f"{control} {n}"} for n, options in enumerate(made)]
    return [{**each, "ignore_errors": True} for each in plays]


def files_of(name: str) -> dict[str, str]:
    """All texts that a VM has on this host."""
    paths = layout().vm(name)
    found = [*Path(paths.log).glob(f"{name}.*"), *Path(paths.home).rglob("*"), *Path(paths.run).glob("*")]
    return {str(path): path.read_text("utf-8", "replace") for path in found if path.is_file()}


def test_no_secret_is_left_anywhere(local: Local, name: str, tmp_path: Path) -> None:
    """A whole play with all secret-bearing commands, allowed and refused, and then every channel there is."""
    given(name)
    secrets, control = Secrets(), f"control{uuid.uuid4().hex}"
    listed = tasks(name, secrets, control)
    folders = {key: tmp_path / key for key in ("async", "tmp")}
    for folder in folders.values():
        folder.mkdir()
    env = {
        "ANSIBLE_ASYNC_DIR": str(folders["async"]),
        "ANSIBLE_REMOTE_TMP": str(folders["tmp"]),
        "ANSIBLE_LOG_PATH": str(tmp_path / "ansible.log"),
        "MAQET_TEST_CONTROL": control,
    }
    with syslog() as lines, Watch([control, *secrets.words.values()]) as watch:
        outcome = play.run_playbook(
            local.inventory,
            [{"hosts": "all", "gather_facts": False, "tasks": listed}],
            extra_vars={"secrets": secrets.values},
            env=env,
            options=["-vvv", "--diff"],
        )
    assert len({task.task for task in outcome.tasks}) == len(listed), outcome.output[-3000:]
    channels = {
        "output": outcome.output,
        "results": "\n".join(repr(task.result) for task in outcome.tasks),
        "ansible.log": (tmp_path / "ansible.log").read_text("utf-8", "replace"),
        "syslog": b"\n".join(lines).decode("utf-8", "replace"),
        "processes": b"\n".join(watch.seen).decode(),
        "async": "\n".join(path.read_text() for path in folders["async"].iterdir()),
        "left in tmp": "\n".join(path.read_text("utf-8", "replace") for path in folders["tmp"].rglob("*.py")),
        **files_of(name),
    }
    leaks = [
        f"{case} in {channel}: {text[max(0, text.index(word) - 200) : text.index(word) + 60]!r}"
        for case, word in secrets.words.items()
        for channel, text in channels.items()
        if word in text
    ]
    assert "\n".join(leaks) == ""

    log = layout().vm(name).audit_log
    for channel in ("output", "results", "ansible.log", "processes", log):
        assert control in channels[channel], f"the search does not see {channel}"
    if lines:
        assert "Invoked with" in channels["syslog"] and name in channels["syslog"]
    assert "set_password" in channels["async"]
    assert name in channels[layout().vm(name).runner_log]
    assert verify(log).ok
    assert {record["op"] for record in read(log) if record["phase"] == "deny"} >= {"set_pasword", "migrate"}
    assert state_of(name) == "running"
