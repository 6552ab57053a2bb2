# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Firmware and TPM as users ask for them. Which files and programs that means on a host is decided elsewhere."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

WORDS = ("bios", "uefi", "uefi-secure")
TYPES = ("bios", "uefi")
FIELDS = ("type", "secure_boot", "code", "vars")
# Also effective: a kernel from the host on a board that has no firmware of its own.
NONE = "none"

TPM_FIELDS = ("version", "model")
TPM_VERSIONS = ("2.0", "1.2")
TPM_MODELS = ("tpm-crb", "tpm-tis")

# Boards of x86 on which firmware can be kept from what the operating system may write: those with SMM and TSEG.
_SMM_MACHINE = re.compile(r"q35|pc-q35-.*")


def firmware(option: str, value: t.Any) -> t.Union[str, dict[str, t.Any]]:
    """Normal form: a word, or a dictionary where a word does not say it all."""
    if isinstance(value, str):
        return values.choice(option, value, WORDS)
    if not isinstance(value, t.Mapping):
        remedy = f"Write {', '.join(WORDS)}, or a dictionary of: {', '.join(FIELDS)}."
        raise invalid_option(option, value, "is neither a word nor a dictionary", remedy)
    given = values.fields(option, value, FIELDS)
    kind = values.choice(f"{option}.type", given.get("type", "uefi"), TYPES)
    secure = "secure_boot" in given and values.yes_or_no(f"{option}.secure_boot", given["secure_boot"])
    files = {key: values.absolute_path(f"{option}.{key}", given[key]) for key in ("code", "vars") if key in given}
    if kind == "bios":
        for key, wrong in (("secure_boot", secure), ("code", "code" in files), ("vars", "vars" in files)):
            if wrong:
                raise invalid_option(f"{option}.{key}", given[key], "needs UEFI", "Use type: uefi, or remove it.")
        return "bios"
    if "vars" in files and "code" not in files:
        raise invalid_option(
            f"{option}.vars", files["vars"], "belongs to firmware that is not named", "Give code too, or remove vars."
        )
    if not files:
        return "uefi-secure" if secure else "uefi"
    return {"type": "uefi", **({"secure_boot": True} if secure else {}), **files}


def effective_firmware(given: t.Any, arch: str, kernel: t.Optional[str]) -> dict[str, t.Any]:
    """All that is to be known of it. A PC has a BIOS; Arm's board boots a kernel by itself, and else needs UEFI."""
    if given is None:
        given = "bios" if arch == "x86_64" else NONE if kernel else "uefi"
    if isinstance(given, str):
        given = {"type": "uefi", "secure_boot": True} if given == "uefi-secure" else {"type": given}
    return {"secure_boot": False, "code": None, "vars": None, **given}


def tpm(option: str, value: t.Any) -> t.Union[bool, dict[str, t.Any]]:
    """Normal form: whether there is one, or a dictionary of what was given."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, t.Mapping):  # of what comes as text in key=value, too: Ansible does not touch it
        remedy = f"Write true or false (without quotes), or a dictionary of: {', '.join(TPM_FIELDS)}."
        raise invalid_option(option, value, "is neither a boolean nor a dictionary", remedy)
    given = values.fields(option, value, TPM_FIELDS)
    found = {}
    if "version" in given:  # without quotes YAML makes a number of it
        number = given["version"]
        spelled = str(number) if isinstance(number, float) else number
        found["version"] = values.choice(f"{option}.version", spelled, TPM_VERSIONS)
    if "model" in given:
        found["model"] = values.choice(f"{option}.model", given["model"], TPM_MODELS)
    if found.get("version") == "1.2" and found.get("model") == "tpm-crb":
        raise invalid_option(f"{option}.model", "tpm-crb", "knows version 2.0 only", "Use tpm-tis, or version 2.0.")
    return found or True


def effective_tpm(given: t.Any, arch: str) -> t.Optional[dict[str, t.Any]]:
    """Version and model, or None where there is none."""
    if given in (None, False):
        return None
    asked = {} if given is True else given
    version = asked.get("version", "2.0")
    plain = "tpm-crb" if arch == "x86_64" and version == "2.0" else "tpm-tis"
    return {"version": version, "model": asked.get("model", plain)}


def check_possible(wanted: t.Mapping[str, t.Any]) -> None:
    """What the effective options of a VM rule out for each other; ``invalid_option``."""
    arch, machine, found, chip = wanted["arch"], wanted["machine"], wanted["firmware"], wanted["tpm"]
    if found["type"] == "bios" and arch != "x86_64":
        raise invalid_option("firmware", "bios", f"is not there for {arch}", "Use uefi, or give a kernel.")
    if found["secure_boot"] and arch == "x86_64" and not _SMM_MACHINE.fullmatch(machine):
        raise invalid_option(
            "firmware",
            "uefi-secure",
            f"is not possible on the machine {machine}, where a guest could rewrite what protects it",
            "Use machine: q35.",
        )
    if chip is not None and chip["model"] == "tpm-crb" and arch != "x86_64":
        raise invalid_option("tpm.model", "tpm-crb", f"is not there for {arch}", "Use tpm-tis.")
