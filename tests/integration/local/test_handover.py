# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open files handed to a real QEMU with the command that uses them, by the runner's way and by the module's."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
import subprocess
import typing as t
import uuid
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.guard.passing import How, Passed
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.direct import DirectMonitor
from ansible_collections.maqet.qemu.plugins.module_utils.qmp.refusal import QmpError
from ansible_collections.maqet.qemu.plugins.module_utils.runner.session import Session
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import remove

SECONDS = 60.0
Arguments = t.Dict[str, t.Any]
Execute = t.Callable[..., t.Any]


@pytest.fixture(scope="module")
def vm() -> t.Iterator[str]:
    """A VM with a screen, which runs."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    modules.must("maqet_vm", name=name, state="running", accel="tcg", memory="64", display="headless")
    yield name
    remove(name)


@pytest.fixture(params=["module", "runner"])
def execute(vm: str, request: pytest.FixtureRequest) -> t.Iterator[Execute]:
    """``execute(command, arguments, passed)`` on the second monitor of the VM; no fdset is left on QEMU's side."""
    path = layout().vm(vm).direct_socket
    before = ours()
    if request.param == "module":
        with DirectMonitor(path, SECONDS) as monitor:
            sets = monitor.execute("query-fdsets")
            yield monitor.execute
            assert monitor.execute("query-fdsets") == sets
    else:
        loop = asyncio.new_event_loop()
        session: list[Session] = []

        async def connect() -> None:
            session.append(Session("web"))
            await session[0].connect(path)

        def run(command: str, arguments: Arguments, passed: t.Sequence[Passed] = ()) -> t.Any:
            return loop.run_until_complete(session[0].execute(command, arguments, SECONDS, passed))

        loop.run_until_complete(connect())
        try:
            sets = run("query-fdsets", {})
            yield run
            assert run("query-fdsets", {}) == sets
        finally:
            loop.run_until_complete(session[0].close())
            loop.close()
    assert ours() == before


def ours() -> int:
    return len(os.listdir("/proc/self/fd"))


class Output:
    """Files that are made as the guard makes them: new, and QEMU's."""

    def __init__(self, vm: str) -> None:
        self.folder = Path(layout().vm(vm).output)
        self.uid = self.folder.stat().st_uid

    def passed(self, path: Path, put: t.Callable[[str], None], how: How = "procfd") -> Passed:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchown(fd, self.uid, self.uid)
        return Passed(fd, how, put)


@pytest.fixture
def output(vm: str) -> Output:
    return Output(vm)


@pytest.mark.parametrize(
    ("command", "given", "key", "form", "begins"),
    [
        ("screendump", {}, "filename", "{}", b"P6"),
        ("screendump", {"format": "png"}, "filename", "{}", b"\x89PNG"),
        ("pmemsave", {"val": 0xFFFF0000, "size": 65536}, "filename", "{}", None),
        ("memsave", {"val": 0xFFFFF000, "size": 4096}, "filename", "{}", None),
        ("dump-guest-memory", {"paging": False}, "protocol", "file:{}", b"\x7fELF"),
    ],
)
def test_files_that_qemu_writes(
    execute: Execute, output: Output, command: str, given: Arguments, key: str, form: str, begins: t.Optional[bytes]
) -> None:
    path = output.folder / uuid.uuid4().hex
    arguments = {**given, key: "what the caller said"}
    execute(command, arguments, [output.passed(path, lambda text: arguments.update({key: form.format(text)}))])
    written = path.read_bytes()
    assert (written[: len(begins)] == begins) if begins else len(written) == given["size"]
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (output.uid, 0o600)


def test_a_dump_by_name(execute: Execute, output: Output) -> None:
    """``fd:NAME`` consumes it, so there is nothing left to close."""
    path, arguments = output.folder / uuid.uuid4().hex, {"paging": False, "protocol": "x"}

    def put(text: str) -> None:
        arguments["protocol"] = f"fd:{text}"

    execute("dump-guest-memory", arguments, [output.passed(path, put, "getfd")])
    assert path.read_bytes()[:4] == b"\x7fELF"


def test_an_image(execute: Execute, tmp_path: Path) -> None:
    """One that only root may open; it stays open when the set is gone."""
    path = tmp_path / "disk.raw"
    path.write_bytes(b"\5" * 65536)
    path.chmod(0o600)
    file: Arguments = {"driver": "file", "filename": str(path)}
    node = f"n{uuid.uuid4().hex[:8]}"
    arguments = {"node-name": node, "driver": "raw", "file": file}
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    execute("blockdev-add", arguments, [Passed(fd, "fdset", lambda text: file.update(filename=text))])
    execute("human-monitor-command", {"command-line": f'qemu-io {node} "write -P 6 0 4096"'})
    execute("blockdev-del", {"node-name": node})
    assert path.read_bytes() == b"\6" * 4096 + b"\5" * 61440


def test_a_tap(execute: Execute) -> None:
    """A network device that QEMU's user may not open; it works until it is taken away."""
    tap, made = f"mq{uuid.uuid4().hex[:8]}", ["ip", "tuntap", "add"]
    try:
        done = subprocess.run([*made, "dev", tap, "mode", "tap"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no ip(8) here")
    if done.returncode != 0:
        pytest.skip(f"no tap devices here: {done.stderr}")
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH14x", tap.encode(), 0x5002))  # TUNSETIFF: IFF_TAP, NO_PI, VNET_HDR
        arguments: Arguments = {"type": "tap", "id": "t0", "ifname": tap}

        def put(text: str) -> None:
            del arguments["ifname"]
            arguments["fd"] = text

        execute("netdev_add", arguments, [Passed(fd, "getfd", put)])
        assert "t0: index=0,type=tap" in execute("human-monitor-command", {"command-line": "info network"})
        execute("netdev_del", {"id": "t0"})
    finally:
        subprocess.run(["ip", "link", "delete", tap], check=True)


def test_a_refusal_leaves_nothing(execute: Execute, output: Output) -> None:
    arguments: Arguments = {"val": 0, "size": 16, "cpu-index": 99}

    def put(text: str) -> None:
        arguments["filename"] = text

    with pytest.raises((QmpError, MaqetError), match="cpu"):
        execute("memsave", arguments, [output.passed(output.folder / uuid.uuid4().hex, put)])


def test_many_at_once(vm: str, output: Output) -> None:
    """Fifty in flight on one connection, each with its own file, beside commands without."""

    async def whole() -> None:
        session = Session("web")
        await session.connect(layout().vm(vm).direct_socket)

        async def one(number: int) -> None:
            arguments: Arguments = {"val": 0xFFFF0000, "size": number + 1}
            path = output.folder / f"many-{number}"
            passed = output.passed(path, lambda text: arguments.update(filename=text))
            await session.execute("pmemsave", arguments, SECONDS, [passed])
            assert path.stat().st_size == number + 1

        await asyncio.gather(*map(one, range(50)), *(session.run_state() for _number in range(50)))
        assert await session.execute("query-fdsets", {}, SECONDS) == before
        await session.close()

    with contextlib.closing(DirectMonitor(layout().vm(vm).direct_socket, SECONDS)) as monitor:
        before = monitor.execute("query-fdsets")
    descriptors = ours()
    asyncio.run(whole())
    assert ours() == descriptors
