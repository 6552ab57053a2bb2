# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firmware, TPM and shares in their normal forms, and what cannot be."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.changes import diff, impact
from ansible_collections.maqet.qemu.plugins.module_utils.definition.defaults import effective
from ansible_collections.maqet.qemu.plugins.module_utils.definition.firmware import check_possible, firmware, tpm
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import merge, normalise
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.tests.unit.definition.conftest import Refused

CODE, VARS = "/f/code.fd", "/f/vars.fd"


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("bios", "bios"),
        ("uefi", "uefi"),
        ("uefi-secure", "uefi-secure"),
        ({}, "uefi"),
        ({"type": "bios"}, "bios"),
        ({"type": "bios", "secure_boot": False}, "bios"),
        ({"type": "uefi"}, "uefi"),
        ({"type": "uefi", "secure_boot": False}, "uefi"),
        ({"secure_boot": True}, "uefi-secure"),
        ({"code": CODE, "vars": None}, {"type": "uefi", "code": CODE}),
        (
            {"code": CODE, "vars": VARS, "secure_boot": True},
            {"type": "uefi", "secure_boot": True, "code": CODE, "vars": VARS},
        ),
    ],
)
def test_firmware_is_a_word_where_a_word_says_it_all(given: t.Any, normal: t.Any) -> None:
    assert firmware("firmware", given) == normal
    assert firmware("firmware", normal) == normal


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("firmware", "UEFI"),
        ("firmware", True),
        ("firmware", ["uefi"]),
        ("firmware.type", {"type": "efi"}),
        ("firmware.secure_boot", {"secure_boot": "yes"}),
        ("firmware.secure_boot", {"type": "bios", "secure_boot": True}),
        ("firmware.code", {"type": "bios", "code": CODE}),
        ("firmware.code", {"code": "code.fd"}),
        ("firmware.vars", {"vars": VARS}),
        ("firmware.nvram", {"nvram": VARS}),
    ],
)
def test_firmware_that_cannot_be(refused: Refused, option: str, given: t.Any) -> None:
    refused(option, firmware, "firmware", given)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (True, True),
        (False, False),
        ({}, True),
        ({"version": 2.0}, {"version": "2.0"}),
        ({"version": "1.2"}, {"version": "1.2"}),
        ({"model": "tpm-tis", "version": None}, {"model": "tpm-tis"}),
    ],
)
def test_tpm(given: t.Any, normal: t.Any) -> None:
    assert tpm("tpm", given) == normal


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("tpm", "yes"),
        ("tpm.version", {"version": 2}),
        ("tpm.version", {"version": "2.1"}),
        ("tpm.model", {"model": "tpm-spapr"}),
        ("tpm.model", {"model": "tpm-crb", "version": "1.2"}),
        ("tpm.state", {"state": "/x"}),
    ],
)
def test_a_tpm_that_cannot_be(refused: Refused, option: str, given: t.Any) -> None:
    refused(option, tpm, "tpm", given)


def wanted(arch: str = "x86_64", **params: t.Any) -> dict[str, t.Any]:
    return effective(merge({}, normalise(params)), arch)


@pytest.mark.parametrize(
    ("arch", "params", "kind"),
    [
        ("x86_64", {}, "bios"),
        ("x86_64", {"kernel": "/k"}, "bios"),
        ("aarch64", {}, "uefi"),
        ("aarch64", {"kernel": "/k"}, "none"),
        ("aarch64", {"kernel": "/k", "firmware": "uefi"}, "uefi"),
    ],
)
def test_what_a_new_vm_boots_with(arch: str, params: dict[str, t.Any], kind: str) -> None:
    assert wanted(arch, **params)["firmware"]["type"] == kind


def test_what_a_tpm_is_by_default() -> None:
    assert wanted()["tpm"] is wanted(tpm=False)["tpm"] is None
    assert wanted(tpm=True)["tpm"] == {"version": "2.0", "model": "tpm-crb"}
    assert wanted(tpm={"version": "1.2"})["tpm"] == {"version": "1.2", "model": "tpm-tis"}
    assert wanted("aarch64", tpm=True)["tpm"] == {"version": "2.0", "model": "tpm-tis"}


@pytest.mark.parametrize(
    ("option", "arch", "params"),
    [
        ("firmware", "aarch64", {"firmware": "bios"}),
        ("firmware", "x86_64", {"firmware": "uefi-secure", "machine": "pc"}),
        ("tpm.model", "aarch64", {"tpm": {"model": "tpm-crb"}}),
    ],
)
def test_what_a_machine_does_not_have(refused: Refused, option: str, arch: str, params: dict[str, t.Any]) -> None:
    refused(option, check_possible, wanted(arch, **params))


@pytest.mark.parametrize(
    ("arch", "params"),
    [
        ("x86_64", {"firmware": "uefi-secure", "machine": "pc-q35-7.2", "tpm": True}),
        ("x86_64", {"firmware": "uefi", "machine": "pc"}),
        ("aarch64", {"firmware": "uefi-secure", "tpm": True}),
    ],
)
def test_what_it_has(arch: str, params: dict[str, t.Any]) -> None:
    check_possible(wanted(arch, **params))


@pytest.mark.parametrize(
    ("check", "value", "words"),
    [(firmware, True, "Write bios, uefi, uefi-secure, or"), (tpm, "true", "Write true or false (without quotes), or")],
)
def test_all_that_may_be_written_is_named(check: t.Any, value: t.Any, words: str) -> None:
    with pytest.raises(MaqetError) as caught:
        check("option", value)
    assert words in str(caught.value)


@pytest.mark.parametrize("option", ["firmware", "tpm", "shares"])
def test_a_change_needs_a_restart(option: str) -> None:
    assert impact(option) == "restart"


def test_saying_the_default_costs_nothing_and_an_empty_string_takes_it_back() -> None:
    assert diff({}, {"firmware": "bios", "tpm": False}, "x86_64").restart == []
    assert diff({}, {"firmware": "uefi"}, "x86_64").restart == ["firmware"]
    assert diff({}, {"firmware": "uefi"}, "aarch64").restart == []
    assert merge({"firmware": "uefi"}, normalise({"firmware": ""})) == {}
