# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The builder around an imagined package source: caching, whole files only, busybox, apt's answers."""

from __future__ import annotations

import gzip
import struct
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.maqet.qemu.tests.guest.maqet_guest import agent, busybox, cpio, main, packages
from ansible_collections.maqet.qemu.tests.guest.maqet_guest.errors import GuestError


def elf(machine: int = 62, segments: t.Sequence[int] = (1,)) -> bytes:
    """A 64-bit program of which only the headers are real; segment type 3 asks for a dynamic loader."""
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0
    )
    table = b"".join(struct.pack("<I", kind).ljust(56, b"\0") for kind in segments)
    return head + table + b"\0awk\0dd\0httpd\0insmod\0setsid\0stty\0udhcpc\0usleep\0"


class FakeSource:
    """Packages of this test's own making, and a count of what was asked."""

    def __init__(self) -> None:
        self.lists, self.version, self.busybox_program = "lists 1", "6.1-1", elf()
        self.asked: t.List[str] = []
        self.broken = False

    def fingerprint(self) -> str:
        return self.lists

    def kernel(self, say: packages.Say) -> packages.Candidate:
        self.asked.append("kernel")
        return packages.Candidate(f"linux {self.version}", ("linux-image",))

    def busybox(self) -> t.Tuple[str, ...]:
        return ("busybox-static",)

    def agent(self) -> t.Tuple[str, ...]:
        return ("qemu-guest-agent", "libc6")

    def unpack(self, names: t.Sequence[str], folder: Path, say: packages.Say) -> None:
        self.asked.append(f"unpack {' '.join(names)}")
        if self.broken:
            raise GuestError("the mirror is away")
        if "qemu-guest-agent" in names:
            return
        if "busybox-static" in names:
            (folder / "bin").mkdir(parents=True)
            (folder / "bin/busybox").write_bytes(self.busybox_program)
            return
        drivers = folder / "lib/modules/6.1/kernel"
        drivers.mkdir(parents=True)
        (drivers / "button.ko").write_bytes(b"\x7fELF\0depends=\0")
        (folder / "boot").mkdir()
        (folder / "boot/vmlinuz-6.1").write_bytes(b"kernel " + self.version.encode())


class Build:
    """One output folder, built as often as a test likes."""

    def __init__(self, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.output, self.source = output, FakeSource()
        self.said: t.List[str] = []
        output.mkdir()

        def find(arch: str, source: packages.Source, work: Path, say: packages.Say) -> bytes:
            return busybox.find_busybox(arch, source, work, say, root=output / "nowhere")  # never this machine's own

        monkeypatch.setattr(main, "find_busybox", find)

    def __call__(self, inputs: str = "inputs 1") -> bool:
        self.said.clear()
        self.source.asked.clear()
        return main.build(self.output, "x86_64", inputs, self.source, self.said.append)


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    return Build(tmp_path / "out", monkeypatch)


def test_the_result_is_a_kernel_and_an_initramfs_and_nothing_is_left_beside(build: Build) -> None:
    assert build() is True
    assert sorted(path.name for path in build.output.iterdir()) == ["initramfs", "stamp.json", "vmlinuz"]
    assert (build.output / "vmlinuz").read_bytes() == b"kernel 6.1-1"
    archive = gzip.decompress((build.output / "initramfs").read_bytes())
    members = {entry.name: entry for entry in cpio.read_newc(archive)}
    assert members["bin/busybox"].data == elf()
    assert members["lib/modules/order"].data == b"button.ko\n"
    assert members["init"].data.startswith(b"#!/bin/sh\n")
    assert members["init"].mode & 0o111
    assert members["dev/console"].device == (5, 1)
    for name in ("vmlinuz", "initramfs"):
        assert (build.output / name).stat().st_mode & 0o777 == 0o644


def test_a_second_build_asks_nothing_and_says_so(build: Build) -> None:
    build()
    assert build() is False
    assert build.source.asked == []
    assert len(build.said) == 1
    assert "up to date: linux 6.1-1" in build.said[0]


def test_equal_input_gives_equal_bytes(build: Build) -> None:
    build()
    first = (build.output / "initramfs").read_bytes()
    (build.output / "stamp.json").unlink()
    build()
    assert (build.output / "initramfs").read_bytes() == first


def test_newer_lists_without_a_newer_kernel_ask_once_and_build_nothing(build: Build) -> None:
    build()
    build.source.lists = "lists 2"
    assert build() is False
    assert build.source.asked == ["kernel"]
    assert build() is False
    assert build.source.asked == []


def test_vanished_lists_keep_what_is_there(build: Build) -> None:
    build()
    build.source.lists = ""
    assert build() is False
    assert build.source.asked == []


def test_a_newer_kernel_is_built(build: Build) -> None:
    build()
    build.source.lists, build.source.version = "lists 2", "6.1-2"
    assert build() is True
    assert (build.output / "vmlinuz").read_bytes() == b"kernel 6.1-2"


@pytest.mark.parametrize("damage", ["initramfs", "vmlinuz", "stamp.json"])
def test_a_damaged_folder_is_built_again(build: Build, damage: str) -> None:
    build()
    (build.output / damage).write_bytes(b"[1]")
    assert build() is True
    assert (build.output / "vmlinuz").read_bytes() == b"kernel 6.1-1"


def test_a_change_of_the_builder_builds_again(build: Build) -> None:
    build()
    assert build(inputs="inputs 2") is True


def test_a_failed_build_leaves_no_stamp_and_no_work_folder_and_the_next_one_succeeds(build: Build) -> None:
    build.source.broken = True
    with pytest.raises(GuestError, match="mirror is away"):
        build()
    assert list(build.output.iterdir()) == []
    (build.output / ".work/kernel").mkdir(parents=True)  # as after a kill -9
    build.source.broken = False
    assert build() is True
    assert not (build.output / ".work").exists()


def test_a_package_without_a_static_busybox_is_an_error(build: Build) -> None:
    build.source.busybox_program = elf(segments=(1, 3))
    with pytest.raises(GuestError, match="no static busybox for x86_64"):
        build()


def test_the_systems_own_busybox_is_taken_if_it_is_static_and_of_the_architecture(tmp_path: Path) -> None:
    source = FakeSource()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_bytes(elf())
    assert busybox.find_busybox("x86_64", source, tmp_path, print, root=tmp_path) == elf()
    assert source.asked == []
    source.busybox_program = elf(machine=183)
    assert busybox.find_busybox("aarch64", source, tmp_path, print, root=tmp_path) == elf(machine=183)
    assert source.asked == ["unpack busybox-static"]


@pytest.mark.parametrize(
    ("data", "machine"),
    [
        (elf(), "x86_64"),
        (elf(machine=183), "aarch64"),
        (elf(machine=8), None),
        (elf(segments=(6, 3, 1)), None),
        (elf()[:80], None),
        (b"#!/bin/sh\n", None),
        (b"", None),
    ],
    ids=["static", "arm", "other machine", "dynamic", "cut", "script", "empty"],
)
def test_static_machine(data: bytes, machine: t.Optional[str]) -> None:
    assert busybox.static_machine(data) == machine


def test_a_dynamic_program_of_this_system_is_not_taken_for_static() -> None:
    assert busybox.static_machine(Path("/bin/sh").read_bytes()) is None


def test_kernel_dependencies_of_debian_and_ubuntu() -> None:
    assert packages.kernel_dependencies("linux-image-6.12.9+deb13-cloud-amd64 (= 6.12.9-1)") == [
        "linux-image-6.12.9+deb13-cloud-amd64"
    ]
    assert packages.kernel_dependencies("kmod, linux-base (>= 4.5ubuntu1~16.04.1), linux-modules-6.8.0-31-generic") == [
        "linux-modules-6.8.0-31-generic"
    ]
    assert packages.kernel_dependencies("kmod, initramfs-tools (>= 0.120) | linux-initramfs-tool") == []


def test_stanza_fields_takes_the_first_stanza_only() -> None:
    text = "Package: a\nVersion: 1:2-3\nDescription: x\n more: y\n\nPackage: b\nVersion: 9\n"
    assert packages.stanza_fields(text) == {"Package": "a", "Version": "1:2-3", "Description": "x"}


def test_without_lists_a_plain_user_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = packages.Apt("x86_64", "cloud")
    monkeypatch.setattr(packages.Apt, "lists", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert apt.fingerprint() == ""
    with pytest.raises(GuestError, match="apt-get update"):
        apt.kernel(print)


def test_the_fingerprint_follows_the_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.Apt, "lists", tmp_path)
    apt = packages.Apt("x86_64", "cloud")
    (tmp_path / "main_Packages.lz4").write_bytes(b"1")
    first = apt.fingerprint()
    assert first == apt.fingerprint() != ""
    (tmp_path / "main_Packages.lz4").write_bytes(b"22")
    assert apt.fingerprint() != first


def test_a_failing_command_is_quoted_with_its_last_words() -> None:
    with pytest.raises(GuestError, match=r"second$"):
        packages.run([sys.executable, "-c", "import sys; sys.exit('first\\nsecond')"])


def test_the_command_line_gives_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main.main(["--output", str(tmp_path / "out"), "--arch", "x86_64"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "apt-get" in error


def test_an_output_that_is_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_bytes(b"")
    assert main.main(["--output", str(tmp_path / "out"), "--arch", "x86_64"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"--output {tmp_path / 'out'}" in error
    assert "folder that you can write" in error


def test_an_agent_comes_along_when_asked(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "members", lambda folder: [cpio.directory("lib/agent")])
    main.build(build.output, "x86_64", "inputs 1", build.source, build.said.append, with_agent=True)
    assert build.source.asked == [
        "kernel",
        "unpack linux-image",
        "unpack busybox-static",
        "unpack qemu-guest-agent libc6",
    ]
    archive = gzip.decompress((build.output / "initramfs").read_bytes())
    assert {"lib/agent", "sbin/shutdown"} <= {entry.name for entry in cpio.read_newc(archive)}
    assert main.inputs_digest("x86_64", "cloud", True) != main.inputs_digest("x86_64", "cloud")
