# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks of our own by what an image's header names, which no argument shows."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks import images
from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    Attack,
    Step,
    accepted,
    both,
    files,
    one,
    shadow,
)

SHADOW = {"driver": "file", "filename": "<victim>/shadow", "read-only": True}


def _add(name: str, kinds: str, options: dict[str, t.Any], effect: t.Any, **more: t.Any) -> Attack:
    return one(name, kinds, "blockdev-add", {"node-name": name, "read-only": True, **options}, effect, **more)


def _own(name: str) -> dict[str, t.Any]:
    return {"driver": "file", "filename": f"<disks>/{name}", "read-only": True}


def _header(name: str, prepare: t.Any, driver: str = "qcow2", **options: t.Any) -> Attack:
    """An image among the VM's own whose header names the victim."""
    return _add(
        name,
        "node-ref blockdev-add.backing",
        {"driver": driver, "file": _own(f"{name}.img"), **options},
        accepted,
        prepare=both(files(shadow="x" * 65536), prepare),
    )


HEADERS = (
    _header("b-backing", images.qcow2("b-backing.img", backing="<victim>/shadow")),
    _header("b-backing-no-format", images.qcow2("b-backing-no-format.img", "<victim>/shadow", backing_format="")),
    _header(
        "b-backing-json",
        images.qcow2(
            "b-backing-json.img", 'json:{"driver":"raw","file":{"driver":"file","filename":"<victim>/shadow"}}'
        ),
    ),
    _header("b-backing-relative", images.qcow2("b-backing-relative.img", "../../../../../../../../<victim>/shadow")),
    _header("b-backing-file-prefix", images.qcow2("b-backing-file-prefix.img", "file:<victim>/shadow")),
    _header("b-data-file", images.qcow2("b-data-file.img", data_file="<victim>/shadow"), backing=None),
    _header("b-data-file-elsewhere", images.qcow2("b-data-file-elsewhere.img", data_file="/dev/zero"), backing=None),
    _header("b-qed", images.qed("b-qed.img", "<victim>/shadow"), "qed"),
    _header("b-vmdk", images.vmdk("b-vmdk.img", "<victim>/shadow"), "vmdk"),
    Attack(
        "b-header-behind-a-reference",
        "node-ref",
        (
            Step("blockdev-add", {"node-name": "bref", **_own("bref.img")}, "setup"),
            Step("blockdev-add", {"node-name": "bref2", "read-only": True, "driver": "qcow2", "file": "bref"}),
        ),
        accepted,
        prepare=both(shadow, images.qcow2("bref.img", backing="<victim>/shadow")),
    ),
    Attack(
        "b-header-behind-raw",
        "node-ref",
        (
            Step(
                "blockdev-add",
                {
                    "node-name": "braw",
                    "read-only": True,
                    "driver": "qcow2",
                    "file": {"driver": "raw", "offset": 512, "file": _own("braw.img")},
                },
            ),
        ),
        accepted,
        prepare=both(
            shadow,
            lambda place: images.raw("braw.img", b"\0" * 512 + images.qcow2_bytes(place.fill("<victim>/shadow")))(
                place
            ),
        ),
    ),
    Attack(
        "b-backing-of-backing",
        "node-ref",
        (
            Step(
                "blockdev-add",
                {"node-name": "bchain", "read-only": True, "driver": "qcow2", "file": _own("bchain-top.img")},
            ),
        ),
        accepted,
        prepare=both(
            shadow,
            images.qcow2("bchain-base.img", backing="<victim>/shadow"),
            images.qcow2("bchain-top.img", backing="<disks>/bchain-base.img", backing_format="qcow2"),
        ),
    ),
    Attack(
        "b-probed-raw-backing",
        "node-ref format",
        # The backing file has no format in the header: QEMU would guess, and what is guessed from is the guest's.
        (
            Step(
                "blockdev-add",
                {"node-name": "bprobe", "read-only": True, "driver": "qcow2", "file": _own("bprobe-top.img")},
            ),
        ),
        accepted,
        prepare=both(
            shadow,
            images.qcow2("bprobe-base.raw", backing="<victim>/shadow"),
            images.qcow2("bprobe-top.img", backing="<disks>/bprobe-base.raw", backing_format=""),
        ),
    ),
)
