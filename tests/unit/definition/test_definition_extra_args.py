# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that pass to QEMU as they are, and those that do not."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.extra_args import extra_args


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["-device", "virtio-rng-pci"],
        ["--device", "virtio-rng-pci,id=rng0"],
        ["-no-reboot", "-usb", "-device", "usb-tablet"],
        ["-m", "slots=2,maxmem=4G"],
        ["-smp", "sockets=1,cores=2"],
        ["-machine", "smm=off,vmport=off"],
        ["-drive", "if=none,id=cd,file=/i.iso,format=raw,media=cdrom"],
        ["-drive", "if=none,id=empty"],
        ["-blockdev", '{"driver":"null-co","node-name":"n0"}'],
        ["-blockdev", "{broken"],
        ["-serial", "null"],
        ["-action", "reboot=reset"],
        ["-run-with", "async-teardown=on"],
        ["-smbios", "type=1,serial=ds=nocloud"],
        ["-global", "ICH9-LPC.disable_s3=1"],
        ["-chardev", "socket,id=qga0,path=/run/mon.sock,server=on,wait=off"],
    ],
)
def test_accepted_as_given(given: list[str]) -> None:
    assert extra_args("extra_args", given) == given


REFUSED_OPTIONS = """qmp qmp-pretty mon monitor gdb s qtest daemonize pidfile runas chroot S preconfig no-shutdown
    add-fd nodefaults no-user-config sandbox name uuid snapshot incoming readconfig set cpu kernel initrd append accel
    bios pflash enable-kvm display vnc nographic hda hdb cdrom h help version""".split()


@pytest.mark.parametrize("name", REFUSED_OPTIONS)
@pytest.mark.parametrize("spelling", ["-{}", "--{}", "-{}=x", "--{}=x"])
def test_options_refused_in_every_spelling(name: str, spelling: str, refused: t.Any) -> None:
    argument = spelling.format(name)
    refused("extra_args[0]", extra_args, "extra_args", [argument, "x"])
    refused("extra_args[2]", extra_args, "extra_args", ["-device", "virtio-rng-pci", argument])
    # QEMU versions differ in which options take a value, so a value cannot hide one either.
    refused("extra_args[1]", extra_args, "extra_args", ["-new-in-qemu-99", argument])


@pytest.mark.parametrize(
    ("given", "index"),
    [
        (["/i/disk.img"], 0),
        (["-device", "virtio-rng-pci", "/i/disk.img"], 2),
        (["-usb", "/i/disk.img"], 1),
        (["-device=virtio-rng-pci"], 0),
        (["-serial", "mon:stdio"], 1),
        (["--parallel", "mon:unix:/run/x"], 1),
        (["-action", "panic=none,shutdown=pause"], 1),
        (["-run-with", "chroot=/srv"], 1),
        (["-run-with", "async-teardown=on,user=qemu"], 1),
        (["-run-with", "exit-with-parent=on"], 1),
        (["-drive", "file=/i/disk.img"], 1),
        (["-drive", "if=virtio,file=/i/disk.img"], 1),
        (["-m", "4G"], 1),
        (["-m", "slots=2,size=4G"], 1),
        (["-smp", "4"], 1),
        (["-smp", "cores=2,cpus=4"], 1),
        (["-machine", "pc"], 1),
        (["-M", "type=pc"], 1),
        (["-machine", "smm=off,accel=kvm"], 1),
        (["-chardev", "null,id=maqet-monitor"], 1),
        (["-chardev", "id=maqet-x,backend=null"], 1),
        (["-blockdev", "driver=null-co,node-name=maqet0"], 1),
        (["-device", '{"driver":"virtio-rng-pci","id":"maqet-rng"}'], 1),
        (["-device", "a\nb"], 1),
        (["-device", "a\x00"], 1),
        (["-device", 5], 1),
        (["-device", None], 1),
    ],
)
def test_refused(given: t.Any, index: int, refused: t.Any) -> None:
    refused(f"extra_args[{index}]", extra_args, "extra_args", given)


def test_a_string_is_no_list(refused: t.Any) -> None:
    refused("extra_args", extra_args, "extra_args", "-device virtio-rng-pci")
