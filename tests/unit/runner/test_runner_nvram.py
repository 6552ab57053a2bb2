# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's UEFI variables: made once, kept, and put aside when they belong to other firmware."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_disks import Source
from ansible_collections.maqet.qemu.plugins.module_utils.definition.render_firmware import Flash
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.host import files
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import Layout
from ansible_collections.maqet.qemu.plugins.module_utils.runner import nvram
from ansible_collections.maqet.qemu.plugins.module_utils.runner.opened import Opened

UID = 2_100_000_007
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


class Vm:
    """A VM, and a host with builds of firmware whose variables are of a size."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.paths = Layout(str(folder / "s"), str(folder / "r"), str(folder / "l"), "user").vm("web")
        os.makedirs(self.paths.home)
        (folder / "descriptors").mkdir()
        self.describe("60", "plain")

    def describe(self, number: str, name: str, *features: str, size: int = 4096) -> None:
        mapping = {"device": "flash"}
        for part, key in (("code", "executable"), ("vars", "nvram-template")):
            path = self.folder / f"{name}-{part}.fd"
            path.write_bytes(name.encode().ljust(size, b"\0"))
            mapping[key] = {"filename": str(path), "format": "raw"}  # type: ignore[assignment]
        targets = [{"architecture": "x86_64", "machines": ["pc-q35-*", "pc-i440fx-*"]}]
        descriptor = {"interface-types": ["uefi"], "mapping": mapping, "targets": targets, "features": list(features)}
        (self.folder / "descriptors" / f"{number}.json").write_text(json.dumps(descriptor), "utf-8")

    def start(self, uid: t.Optional[int] = None, **params: t.Any) -> str:
        """What the VM runs from."""
        wanted = effective(merge({}, normalise({"firmware": "uefi", **params})), "x86_64")
        build = nvram.prepare(self.paths, wanted, uid, (str(self.folder / "descriptors"),))
        return os.path.basename(build.code)[: -len("-code.fd")]

    @property
    def vars(self) -> pathlib.Path:
        return pathlib.Path(self.paths.nvram, "vars.raw")

    @property
    def aside(self) -> pathlib.Path:
        return pathlib.Path(self.paths.nvram, "vars.raw.1")


@pytest.fixture
def vm(tmp_path: pathlib.Path) -> Vm:
    return Vm(tmp_path)


def test_they_are_a_copy_that_stays(vm: Vm) -> None:
    assert vm.start() == "plain"
    assert vm.vars.read_bytes() == b"plain".ljust(4096, b"\0") and vm.vars.stat().st_mode & 0o777 == 0o600
    origin = pathlib.Path(vm.paths.nvram_origin)
    noted = origin.stat().st_ino
    vm.vars.write_bytes(b"guest".ljust(4096))
    assert vm.start() == "plain"
    assert vm.vars.read_bytes()[:5] == b"guest" and not vm.aside.exists()
    assert origin.stat().st_ino == noted, "and nothing is written"


def test_firmware_stays_with_the_vm_when_the_host_prefers_another(vm: Vm) -> None:
    vm.start()
    vm.describe("50", "newer", size=8192)
    assert vm.start() == "plain"
    (vm.folder / "plain-code.fd").unlink()
    vm.vars.write_bytes(b"guest")
    assert vm.start() == "newer"
    assert vm.aside.read_bytes() == b"guest", "no firmware is left that could read it"
    assert vm.vars.stat().st_size == 8192


def test_a_newer_build_of_the_same_layout_keeps_them(vm: Vm) -> None:
    vm.start()
    vm.vars.write_bytes(b"guest")
    vm.describe("50", "newer")
    (vm.folder / "plain-code.fd").unlink()
    assert vm.start() == "newer"
    assert vm.vars.read_bytes() == b"guest" and not vm.aside.exists()


def test_another_machine_keeps_them(vm: Vm) -> None:
    vm.start()
    vm.vars.write_bytes(b"guest")
    assert vm.start(machine="pc") == "plain"
    assert vm.vars.read_bytes() == b"guest"


def test_secure_boot_begins_with_its_own(vm: Vm) -> None:
    vm.describe("40", "signed", "secure-boot", "enrolled-keys", "requires-smm")
    vm.start()
    vm.vars.write_bytes(b"guest")
    assert vm.start(firmware="uefi-secure") == "signed"
    assert (vm.vars.read_bytes()[:6], vm.aside.read_bytes()) == (b"signed", b"guest")


def test_a_change_that_is_taken_back_loses_nothing(vm: Vm) -> None:
    """A task does that when the VM does not start with the new firmware."""
    vm.describe("40", "signed", "secure-boot", "enrolled-keys", "requires-smm")
    vm.start()
    vm.vars.write_bytes(b"guest")
    vm.start(firmware="uefi-secure")
    vm.vars.write_bytes(b"signed guest")
    for _time in range(2):
        assert vm.start() == "plain" and vm.vars.read_bytes() == b"guest"
        assert vm.start(firmware="uefi-secure") == "signed" and vm.vars.read_bytes() == b"signed guest"
    assert sorted(os.listdir(vm.paths.nvram)) == ["origin.json", "vars.raw", "vars.raw.1", "vars.raw.1.json"]


def test_what_no_build_can_read_stays_aside(vm: Vm) -> None:
    vm.describe("40", "signed", "secure-boot", "enrolled-keys", "requires-smm")
    vm.start()
    vm.vars.write_bytes(b"guest")
    vm.start(firmware="uefi-secure")
    vm.describe("60", "plain", size=8192)
    assert vm.start() == "plain" and vm.vars.stat().st_size == 8192
    assert vm.aside.read_bytes() == b"guest" and vm.aside.with_name("vars.raw.2").read_bytes()[:6] == b"signed"


@pytest.mark.parametrize("broken_off_after", ["aside", "note"])
def test_a_change_that_is_broken_off_loses_nothing(
    vm: Vm, monkeypatch: pytest.MonkeyPatch, broken_off_after: str
) -> None:
    vm.describe("40", "signed", "secure-boot", "enrolled-keys")
    vm.start()
    vm.vars.write_bytes(b"guest")

    def full(*_arguments: t.Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, {"aside": "write_json", "note": "copy_atomic"}[broken_off_after], full)
        with pytest.raises(MaqetError, match="No space left") as caught:
            vm.start(firmware="uefi-secure")
        assert caught.value.error_code == "host_error"
    vm.start(firmware="uefi-secure")
    assert (vm.vars.read_bytes()[:6], vm.aside.read_bytes()) == (b"signed", b"guest")


@ROOT
def test_they_are_qemus_and_their_folder_is_not(vm: Vm) -> None:
    for _time in range(2):
        vm.start(uid=UID)
        found = vm.vars.lstat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (UID, UID, 0o600)
        folder = os.lstat(vm.paths.nvram)
        assert (folder.st_uid, folder.st_gid, folder.st_mode & 0o777) == (0, UID, 0o710)


@ROOT
def test_a_link_in_their_place_is_not_given_away(vm: Vm) -> None:
    vm.start(uid=UID)
    foreign = vm.folder / "foreign"
    foreign.write_text("secret", "utf-8")
    vm.vars.unlink()
    vm.vars.symlink_to(foreign)
    with pytest.raises(MaqetError) as caught:
        vm.start(uid=UID)
    assert caught.value.error_code == "state_unsafe" and foreign.stat().st_uid == 0


def flash(vm: Vm, uid: t.Optional[int] = None, **params: t.Any) -> tuple[t.Optional[Flash], list[int]]:
    wanted = effective(merge({}, normalise(params)), "x86_64")
    with contextlib.ExitStack() as stack:
        opened = Opened(stack)
        return nvram.flash(wanted, vm.paths, opened, uid), opened.inherited


def test_what_qemu_is_told(vm: Vm) -> None:
    assert flash(vm) == (None, []), "a BIOS is QEMU's own"
    code, template = str(vm.folder / "plain-code.fd"), str(vm.folder / "plain-vars.fd")
    own = {"code": code, "vars": template}
    assert flash(vm, firmware={"code": code}) == (Flash(Source(code, "raw")), [])
    kept = Source(str(vm.vars), "raw")
    assert flash(vm, firmware=own) == (Flash(Source(code, "raw"), kept), [])
    assert flash(vm, firmware={**own, "secure_boot": True}) == (Flash(Source(code, "raw"), kept, True), [])


@ROOT
def test_code_that_is_roots_alone_is_opened_for_it(vm: Vm) -> None:
    code = vm.folder / "plain-code.fd"
    code.chmod(0o600)
    found, inherited = flash(vm, UID, firmware={"code": str(code)})
    assert found == Flash(Source("/dev/fdset/1", "raw")) and len(inherited) == 1
