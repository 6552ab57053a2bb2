# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option of the definition that is words on QEMU's command line, rendered and started by a real QEMU.

The rendering itself is pinned word for word in tests/unit/definition. Here QEMU says that it takes the words, and in
the monitor that it has made of them what was meant.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render import Place, command_line
from ansible_collections.maqet.qemu.plugins.module_utils.definition.stored import DiskFile
from ansible_collections.maqet.qemu.tests.integration.local.conftest import PAGES

UUID = "11111111-2222-3333-4444-555555555555"
BOARDS = {"q35": ("x86_64", "q35"), "pc": ("x86_64", "pc"), "virt": ("aarch64", "virt")}
X86 = ("q35", "pc")
ALL = ("q35", "pc", "virt")


class Monitor:
    """One QMP connection, for a handful of questions."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._file = self._socket.makefile("rb")
        try:
            self._socket.connect(path)
            json.loads(self._file.readline())  # the greeting; ValueError if QEMU ends before it
        except (OSError, ValueError):
            self.close()
            raise
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: t.Any) -> t.Any:
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self._file.readline() or b'{"error": "QEMU has ended"}')
            if "event" not in answer:
                return answer.get("return", answer.get("error"))

    def property(self, path: str, name: str) -> t.Any:
        return self.ask("qom-get", path=path, property=name)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextlib.contextmanager
def started(folder: Path, board: str, params: dict[str, t.Any], password: str = "") -> t.Iterator[Monitor]:
    """A QEMU with these options, paused; it is ended with the block."""
    arch, machine = BOARDS[board]
    binary = shutil.which(f"qemu-system-{arch}")
    if binary is None:
        pytest.skip(f"qemu-system-{arch} is not installed")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(_listening(folder / name)) for name in ("monitor", "direct", "serial", "agent")]
        numbers = [listening.fileno() for listening in sockets]
        secret = os.memfd_create("secret")
        stack.callback(os.close, secret)
        os.write(secret, password.encode())
        files = {}
        for disk in params.get("disks", ()):
            path = folder / f"{disk['name']}.raw"
            path.write_bytes(b"\0" * (1 << 20))
            files[disk["name"]] = DiskFile(str(path), "raw")
        place = Place(
            name="accepted",
            uuid=UUID,
            binary=binary,
            accel="tcg",
            monitor_fd=numbers[0],
            direct_fd=numbers[1],
            serial_fd=numbers[2],
            agent_fd=numbers[3],
            serial_log=str(folder / "serial.log"),
            vnc_socket=str(folder / "vnc"),
            host_arch=arch,
            disks=files,
            vnc_password=f"/proc/self/fd/{secret}" if password else None,
        )
        intent = merge({}, normalise({"memory": "64M", "arch": arch, "machine": machine, **params}))
        log = stack.enter_context((folder / "qemu.log").open("w+b"))
        qemu = subprocess.Popen(
            command_line(intent, place), stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(*numbers, secret)
        )
        try:
            for listening in sockets:  # QEMU's alone from now on: with it the connection ends
                listening.close()
            try:
                monitor = Monitor(str(folder / "monitor"))
            except (OSError, ValueError):
                qemu.wait(30)
                pytest.fail((folder / "qemu.log").read_text())
            yield monitor
            monitor.ask("quit")
            monitor.close()
            assert qemu.wait(30) == 0
            assert (folder / "qemu.log").read_text() == "", "QEMU complains of nothing"
        finally:
            qemu.kill()
            qemu.wait()


def _listening(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    return listening


# Options, and where they are accepted.
ACCEPTED: list[tuple[str, dict[str, t.Any], t.Sequence[str]]] = [
    ("nothing", {}, ALL),
    (
        "topology",
        {
            "cpus": 4,
            "cpu_topology": {"sockets": 1, "cores": 2, "threads": 2},
            "cpu_model": "Nehalem",  # QEMU warns of threads that AMD's models do not have without topoext
        },
        X86,
    ),
    ("topology-arm", {"cpus": 4, "cpu_topology": {"sockets": 2, "cores": 2}}, ("virt",)),
    ("dies", {"cpus": 8, "cpu_topology": {"dies": 2, "cores": 2}}, X86),
    ("plug", {"cpus": 2, "cpus_max": 8}, X86),
    ("plug-topology", {"cpus": 2, "cpus_max": 8, "cpu_topology": {"cores": 4}}, X86),
    ("features", {"cpu_features": {"vmx": False, "smap": True, "phys-bits": 40}}, X86),
    ("features-arm", {"cpu_features": {"sve": False, "pauth_impdef": True}}, ("virt",)),
    ("model-features", {"cpu_model": "qemu64,+aes", "cpu_features": {"vmx": False}}, X86),
    ("balloon", {"balloon": True, "balloon_target": "32M"}, ALL),
    ("rng", {"rng": True}, ALL),
    ("watchdog", {"watchdog": {"model": "i6300esb"}}, ALL),
    ("watchdog-isa", {"watchdog": {"model": "ib700", "action": "pause"}}, X86),
    ("watchdog-panic", {"watchdog": {"action": "none"}, "panic_action": "pause", "reboot_action": "shutdown"}, ALL),
    ("clock", {"clock": {"base": "localtime", "driftfix": "slew"}}, X86),
    ("clock-vm", {"clock": {"base": "2030-01-31T12:00:00", "source": "vm"}}, ALL),
    ("smbios", {"smbios": {"manufacturer": "A, B & co=x", "serial": "1,2", "oem_strings": ["a=b,c", "d"]}}, ALL),
    ("menu", {"boot": {"menu": True}}, ALL),
    ("serial", {"serial": "socket"}, ALL),
    ("vnc", {"display": "vnc"}, ALL),
    *[(f"video-{word}", {"display": "headless", "video": word}, X86) for word in ("vga", "virtio", "cirrus", "bochs")],
    *[(f"video-{word}-arm", {"display": "headless", "video": word}, ("virt",)) for word in ("virtio", "ramfb")],
    (
        "devices",
        {
            "devices": [
                {"driver": "qemu-xhci", "id": "usb", "properties": {"p2": 8, "streams": True}},
                {"driver": "usb-tablet", "properties": {"bus": "usb.0", "serial": "a,b"}},
            ]
        },
        ALL,
    ),
    (
        "all",
        {
            "balloon": True,
            "rng": True,
            "watchdog": {"model": "i6300esb"},
            "agent": True,
            "panic_action": "none",
            "display": "headless",
            "networks": [{"type": "user"}],
            "serial": "socket",
        },
        ALL,
    ),
]
CASES = [pytest.param(board, params, id=f"{name}-{board}") for name, params, where in ACCEPTED for board in where]


@pytest.mark.parametrize(("board", "params"), CASES)
def test_qemu_takes_it(tmp_path: Path, board: str, params: dict[str, t.Any]) -> None:
    with started(tmp_path, board, params) as monitor:
        assert monitor.ask("query-status")["status"] == "prelaunch"


@pytest.mark.parametrize("board", ALL)
def test_memory_of_huge_pages(tmp_path: Path, board: str, huge_pages: int) -> None:
    with started(tmp_path, board, {"memory": "64M", "hugepages": "2M", "balloon": True}) as monitor:
        (memory,) = monitor.ask("query-memdev")
        assert (memory["id"], memory["size"]) == ("maqet-memory", 64 << 20)
        assert monitor.property("/objects/maqet-memory", "hugetlb") is True
        reserved = int((PAGES / "resv_hugepages").read_text()) + int((PAGES / "nr_hugepages").read_text())
        assert reserved - int((PAGES / "free_hugepages").read_text()) >= 32, "all of the guest's pages are its own"
    (tmp_path / "more").mkdir()
    too_much = {"memory": f"{2 * huge_pages + 2}M", "hugepages": "2M"}
    with pytest.raises(pytest.fail.Exception, match="emory"), started(tmp_path / "more", board, too_much):
        pass


def test_processors_can_be_plugged_up_to_the_most(tmp_path: Path) -> None:
    params = {"cpus": 2, "cpus_max": 8, "cpu_topology": {"cores": 4}}
    with started(tmp_path, "q35", params) as monitor:
        places = monitor.ask("query-hotpluggable-cpus")
        assert [("qom-path" in place) for place in places].count(True) == 2
        assert {(place["props"]["socket-id"], place["props"]["core-id"]) for place in places} == {
            (socket, core) for socket in range(2) for core in range(4)
        }


def test_features_are_what_the_user_says(tmp_path: Path) -> None:
    with started(tmp_path, "q35", {"cpu_features": {"smap": False, "phys_bits": 41}}) as monitor:
        cpu = monitor.ask("query-cpus-fast")[0]["qom-path"]
        assert monitor.property(cpu, "smap") is False and monitor.property(cpu, "smep") is True
        assert monitor.property(cpu, "phys-bits") == 41


@pytest.mark.parametrize("board", ALL)
def test_the_order_to_boot_in(tmp_path: Path, board: str) -> None:
    """Cards and disks as they are named, then the disks that are not; a card that is not has no place."""
    params = {
        "disks": [{"name": name, "path": "/there"} for name in ("a", "b", "c")],
        "networks": [{"type": "user"}, {"type": "user"}],
        "boot": {"order": ["nic1", "c"]},
    }
    with started(tmp_path, board, params) as monitor:
        found = {
            name: monitor.property(f"/machine/peripheral/{name}", "bootindex")
            for name in ("nic0", "nic1", "a", "b", "c")
        }
    assert found == {"nic0": -1, "nic1": 1, "c": 2, "a": 3, "b": 4}


@pytest.mark.parametrize("board", ALL)
def test_devices_that_are_asked_for_move_no_others(tmp_path: Path, board: str) -> None:
    """The guest's names for disks and cards hang on their addresses."""
    base = {"disks": [{"name": "a", "path": "/there"}], "networks": [{"type": "user"}], "agent": True}
    more = {
        "rng": True,
        "balloon": True,
        "watchdog": {"model": "i6300esb"},
        "devices": [{"driver": "virtio-rng-pci"}],
    }

    def addresses(monitor: Monitor) -> list[t.Any]:
        return [monitor.property(f"/machine/peripheral/{name}", "addr") for name in ("a", "nic0", "maqet-agent-bus")]

    (tmp_path / "more").mkdir()
    with started(tmp_path, board, base) as monitor:
        before = addresses(monitor)
    with started(tmp_path / "more", board, {**base, **more}) as monitor:
        assert addresses(monitor) == before
        assert monitor.property("/machine/peripheral/maqet-balloon", "free-page-reporting") is True
        assert monitor.ask("query-balloon")["actual"] == 64 << 20


@pytest.mark.parametrize("net", [False, True])
def test_a_password_for_vnc(tmp_path: Path, net: bool) -> None:
    """It is asked for on the socket and in the network; QEMU's arguments do not hold it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    vnc = {"password": "hush,1=2", **({"port": port} if net else {})}
    with started(tmp_path, "q35", {"display": "vnc", "vnc": vnc}, password="hush,1=2") as monitor:
        told = monitor.ask("query-vnc")
        assert told["enabled"] and told["auth"] == "vnc"
        where: t.Any = ("127.0.0.1", port) if net else str(tmp_path / "vnc")
        with socket.socket(socket.AF_INET if net else socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(where)
            assert client.recv(12).startswith(b"RFB 003.008")
            client.sendall(b"RFB 003.008\n")
            assert client.recv(2) == b"\x01\x02", "one kind of security: VNC's password (RFC 6143, 7.1.2)"
            client.sendall(b"\x02")
            challenge = client.recv(16, socket.MSG_WAITALL)
            client.sendall(answer(challenge, "hush,1=2"))
            assert client.recv(4, socket.MSG_WAITALL) == bytes(4), "the password opens it"
        assert monitor.ask("set_password", protocol="vnc", password="other") == {}


def answer(challenge: bytes, password: str) -> bytes:
    """DES by openssl: the key has the bits of each byte the other way round (RFC 6143, 7.2.2)."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode().ljust(8, b"\0"))
    command = ["openssl", "enc", "-des-ecb", "-provider", "legacy", "-provider", "default", "-nopad", "-K", key.hex()]
    return subprocess.run(command, input=challenge, stdout=subprocess.PIPE, check=True).stdout
