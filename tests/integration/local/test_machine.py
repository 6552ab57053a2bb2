# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the machine through the module: what a second run says, what a running VM takes, what a guest sees."""

from __future__ import annotations

import json
import re
import socket
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import MACHINES
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.processes import argument, command_lines
from ansible_collections.maqet.qemu.tests.hosts import modules
from ansible_collections.maqet.qemu.tests.integration.local.conftest import ARCH, CONSOLE, NOTHING, Result, given

AT_ONCE: Result = {"force": True, "stop_timeout": 0}
# Each option that costs a restart, with a value and another one.
OPTIONS: dict[str, tuple[t.Any, t.Any]] = {
    "balloon": (True, False),
    "cpus_max": (4, 2),
    "cpu_topology": ({"cores": 1, "threads": 1}, {}),
    "cpu_features": ({"pmu" if ARCH == "aarch64" else "smap": False}, {}),
    "smbios": ({"product": "A, B", "oem_strings": ["x=y"]}, {"serial": "7"}),
    "clock": ({"base": "localtime"}, {"base": "2030-01-31T12:00:00"}),
    "boot": ({"menu": True}, {}),
    "serial": ("socket", "none"),
    "display": ("vnc", "headless"),
    "rng": (True, False),
    "watchdog": ({"model": "i6300esb"}, {}),
}


def vm(name: str, **options: t.Any) -> Result:
    """One task, without a controller; with ``check``, in check mode."""
    check = bool(options.pop("check", False))
    return modules.run_module("maqet_vm", {"name": name, **options}, check=check).result


@pytest.mark.parametrize("option", OPTIONS)
def test_created_changed_and_removed(name: str, option: str) -> None:
    """Twelve steps: create, change, remove; each in check mode, for real, again."""
    if option == "cpus_max" and ARCH == "aarch64":
        pytest.skip("QEMU plugs no processors into Arm's board")
    first, second = OPTIONS[option]
    made = {"state": "running", **NOTHING, "machine": MACHINES[ARCH], option: first}
    for number, wanted in enumerate((made, {option: second, "state": "running", "allow_restart": True, **AT_ONCE})):
        looked = vm(name, check=True, **wanted)
        assert looked["changed"] and not looked.get("failed"), looked
        if number:
            refused = vm(name, **{**wanted, "allow_restart": False})
            assert refused["error_code"] == "restart_required" and refused["options"] == [option]
        real = vm(name, **wanted)
        assert not real.get("failed"), real
        assert (real["actions"], real["diff"]) == (looked["actions"], looked["diff"])
        assert real["vm"]["status"] == "running" and real["vm"]["definition"][option] == wanted[option]
        assert vm(name, **wanted)["actions"] == []
        assert vm(name, check=True, **wanted)["actions"] == []
    wanted = {"state": "absent", **AT_ONCE}
    looked = vm(name, check=True, **wanted)
    real = vm(name, **wanted)
    assert real["changed"] and real["actions"] == looked["actions"]
    assert vm(name, **wanted)["changed"] is False


def test_a_uuid_of_ones_own(name: str) -> None:
    """It is the VM's from the first day on: the same is no change, another one is refused, with and without a VM."""
    own, other = "0F4C2A9E-5d1b-4c38-9a77-2f1f6f0c1d2e", "1f4c2a9e-5d1b-4c38-9a77-2f1f6f0c1d2e"
    made = given(name, uuid=own)
    assert made["vm"]["uuid"] == own.lower()
    assert modules.must("maqet_qmp", vm=name, command="query-uuid")["response"]["UUID"] == own.lower()
    assert vm(name, state="running", **NOTHING, uuid=own)["actions"] == []
    for state in ("running", "stopped", "present"):
        refused = vm(name, state=state, uuid=other, allow_restart=True, force=True, stop_timeout=0)
        assert refused["error_code"] == "invalid_option" and own.lower() in refused["msg"]


@pytest.mark.parametrize(
    ("wanted", "option", "words"),
    [
        ({"devices": [{"driver": "virtio-rng-pcie"}]}, "devices[0].driver", "Did you mean virtio-rng-pci"),
        (
            {"devices": [{"driver": "virtio-rng-pci", "properties": {"max-byte": 5}}]},
            "devices[0].properties.max-byte",
            "Did you mean max-bytes",
        ),
        ({"devices": [{"driver": "usb-host"}]}, "devices[0].driver", "Use host_devices"),
        ({"host_devices": [{"usb": {"vendor": "dead", "product": "beef"}}]}, "host_devices[0].usb", "See lsusb"),
        ({"host_devices": [{"pci": "0000:ff:1f.7"}]}, "host_devices[0].pci", "See 'lspci -D'"),
        ({"hugepages": "4M"}, "hugepages", "Choose one of"),
        ({"hugepages": "2M", "memory": "512G"}, "hugepages", "nr_hugepages by"),
        ({"display": "vnc", "vnc": {"port": 5901}}, "vnc.port", "Give vnc.password too"),
        ({"arch": "aarch64", "cpus_max": 4}, "cpus_max", "aarch64"),
        ({"arch": "aarch64", "display": "headless", "video": "vga"}, "video", "virtio, ramfb"),
        ({"boot": {"order": ["cdrom"]}}, "boot.order[0]", "is no disk or card of this VM"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    name: str, wanted: dict[str, t.Any], option: str, words: str
) -> None:
    result = vm(name, state="running", **{**NOTHING, **wanted})
    assert result["error_code"] == "invalid_option" and result["option"] == option, result
    assert words in result["msg"] and result["changed"] is False
    assert not Path(layout().vm(name).home).exists()


def places_of(text: str, name: str) -> list[str]:
    """Where on this host a text stands that belongs to a VM."""
    paths = layout().vm(name)
    found = [
        str(file)
        for folder in (paths.home, paths.run, layout().log)
        for file in Path(folder).rglob("*")
        if file.is_file() and name in str(file) and text in file.read_text("utf-8", "replace")
    ]
    return found + [" ".join(words) for _pid, words in command_lines() if text in " ".join(words)]


def test_a_password_for_vnc_is_seen_nowhere(name: str) -> None:
    """Not in results and diffs, logs, QEMU's arguments: only in the file that is the VM's memory, and that is safe."""
    first, second = "Hush,7=a", "Hush,8=b"
    made = vm(name, state="running", **NOTHING, display="vnc", vnc={"password": first})
    assert not made.get("failed"), made
    again = vm(name, state="running", **NOTHING, display="vnc", vnc={"password": first})
    assert again["actions"] == []
    told = modules.must("maqet_qmp", vm=name, command="query-vnc")
    assert told["response"]["auth"] == "vnc" and told["response"]["service"] == made["vm"]["sockets"]["vnc"]
    announced = vm(name, check=True, state="running", display="vnc", vnc={"password": second})
    changed = vm(name, state="running", display="vnc", vnc={"password": second})
    assert changed["diff"] == announced["diff"] and changed["vm"]["qemu_pid"] == made["vm"]["qemu_pid"]
    sides = [changed["diff"][side]["vnc"]["password"] for side in ("before", "after")]
    assert sides[0] != sides[1], "that it changes is told, and not what to"
    bad = vm(name, state="running", display="vnc", vnc={"password": "Hush 9 too long"})
    assert bad["option"] == "vnc.password"
    info = modules.must("maqet_vm_info", name=name)
    for result in (made, again, announced, changed, bad, info):
        assert "Hush" not in json.dumps(result)
    definition = Path(layout().vm(name).definition)
    assert places_of("Hush", name) == [str(definition)] and definition.stat().st_mode & 0o077 == 0


def test_a_serial_port_to_speak_to(name: str, guest: Result) -> None:
    """Whoever is connected hears the guest, and the log has it all; the log is also there without anybody."""
    assert not vm(name, state="paused", **guest, serial="socket").get("failed")
    paths = layout().vm(name)
    assert Path(paths.serial_socket).stat().st_mode & 0o077 == 0
    heard = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(paths.serial_socket)
        assert not vm(name, state="running").get("failed")
        while b"maqet guest ready" not in heard:
            heard += client.recv(4096)
    ready = vm(name, state="running", wait_for=[{"serial": "maqet guest ready"}])
    assert not ready.get("failed"), ready
    assert Path(paths.serial_log).read_bytes().startswith(heard[: heard.index(b"maqet guest ready")])
    assert ready["vm"]["sockets"]["serial"] == paths.serial_socket


def test_what_a_guest_sees(name: str, guest: Result) -> None:
    """Its kernel finds two processors of four, and the time that it was given.

    Arm's board takes no more processors than it has, and tells its maker to its firmware alone.
    """
    more = {} if ARCH == "aarch64" else {"cpus_max": 4}
    wanted = {**guest, "cmdline": f"console={CONSOLE}", "cpus": 2, **more, "rng": True, "balloon": True}
    clock = {"base": "2031-02-03T04:05:06"}
    system = {"manufacturer": "Acme, Ltd", "product": "Rocket"}
    ready = vm(
        name,
        state="running",
        **wanted,
        clock=clock,
        smbios=system,
        wait_for=[{"serial": "maqet guest ready"}],
    )
    assert not ready.get("failed"), ready
    text = Path(layout().vm(name).serial_log).read_text("utf-8", "replace")
    if ARCH == "aarch64":
        assert re.search(r"smp: Brought up 1 node, 2 CPUs", text), text
    else:
        assert re.search(r"smpboot: Allowing 4 CPUs, 2 hotplug CPUs", text), text
        assert re.search(r"DMI: Acme, Ltd Rocket", text)
    assert re.search(r"setting system clock to 2031-02-03T04:0", text)


def test_arguments_of_ones_own_are_in_the_audit_log(name: str) -> None:
    """Each start with them is a warning, which names them; a secret in them stays out of it."""
    given(name, extra_args=["-object", "secret,id=mine,data=Hush7", "-device", "virtio-rng-pci,id=rng0"])
    records = [json.loads(line) for line in Path(layout().vm(name).audit_log).read_text("utf-8").splitlines()]
    (mark,) = [record for record in records if record["phase"] == "start"]
    assert (mark["level"], mark["class"]) == ("warning", "host-exec")
    assert mark["args"]["extra_args"][2:] == ["-device", "virtio-rng-pci,id=rng0"]
    assert "Hush7" not in json.dumps(records)
    assert modules.must("maqet_audit_info", vm=name)["verified"]


def test_memory_of_huge_pages_for_an_unprivileged_qemu(name: str, huge_pages: int) -> None:
    made = vm(name, state="running", **NOTHING, hugepages="2M")
    assert not made.get("failed"), made
    again = vm(name, state="restarted", force=True, stop_timeout=0)
    assert not again.get("failed"), "the pages of the one that ends are counted for the one that starts"
    (words,) = [words for _pid, words in command_lines() if f"guest={name},debug-threads=on" in words]
    assert (
        argument(words, "-object")
        == "memory-backend-memfd,id=maqet-memory,size=64M,share=off,hugetlb=on,hugetlbsize=2048K"
    )
