# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The UEFI firmware that this host has: by the descriptors that come with it, else where distributions put it.

Source: QEMU's docs/interop/firmware.json. A descriptor in /etc takes the place of the one of the same name in /usr; an
empty one hides it; of all that fit, the first by name is meant.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import invalid_option

FOLDERS = ("/usr/share/qemu/firmware", "/etc/qemu/firmware")

_QCOW2 = b"QFI\xfb"
# What descriptors call the machines that QEMU also knows by a shorter name.
_FULL = {"q35": "pc-q35-0", "pc": "pc-i440fx-0", "virt": "virt-0"}
_PACKAGES = {
    "x86_64": "Debian and Ubuntu: ovmf; Fedora and RHEL: edk2-ovmf; SUSE: qemu-ovmf-x86_64",
    "aarch64": "Debian and Ubuntu: qemu-efi-aarch64; Fedora and RHEL: edk2-aarch64; SUSE: qemu-uefi-aarch64",
}
# (code, variables) by architecture and whether Secure Boot is on, the newer ones first: Debian and Ubuntu, Fedora,
# Arch, SUSE, and what QEMU itself installs.
_KNOWN: dict[tuple[str, bool], tuple[tuple[str, str], ...]] = {
    ("x86_64", False): (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE_4M.qcow2", "/usr/share/edk2/ovmf/OVMF_VARS_4M.qcow2"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
        ("/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
        ("/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"),
        ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
    ),
    ("x86_64", True): (
        ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
        ("/usr/share/OVMF/OVMF_CODE.ms.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE_4M.secboot.qcow2", "/usr/share/edk2/ovmf/OVMF_VARS_4M.secboot.qcow2"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
        ("/usr/share/qemu/ovmf-x86_64-smm-ms-code.bin", "/usr/share/qemu/ovmf-x86_64-smm-ms-vars.bin"),
    ),
    ("aarch64", False): (
        ("/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.qcow2", "/usr/share/edk2/aarch64/vars-template-pflash.qcow2"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
        ("/usr/share/qemu/aavmf-aarch64-code.bin", "/usr/share/qemu/aavmf-aarch64-vars.bin"),
        ("/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"),
    ),
    ("aarch64", True): (("/usr/share/AAVMF/AAVMF_CODE.ms.fd", "/usr/share/AAVMF/AAVMF_VARS.ms.fd"),),
}


@dataclasses.dataclass(frozen=True)
class Build:
    """One build of UEFI: its code, the variables with which a VM begins (None: it keeps none), and their formats."""

    code: str
    code_format: str
    template: t.Optional[str]
    template_format: t.Optional[str]


def find(
    wanted: t.Mapping[str, t.Any],
    arch: str,
    machine: str,
    folders: t.Sequence[str] = FOLDERS,
) -> Build:
    """The build for ``wanted``, the effective option ``firmware``; ``invalid_option`` where this host has none."""
    if wanted["code"] is not None:
        return _given(wanted)
    secure = wanted["secure_boot"]
    full = _FULL.get(machine, machine)
    installed = descriptors(folders)
    for plain in (True, False):
        for descriptor in installed:
            build = _described(descriptor, arch, full, secure, plain)
            if build is not None:
                return build
    for code, template in _KNOWN[arch, secure]:
        if os.path.exists(code) and os.path.exists(template):
            return Build(code, _format_of(code), template, _format_of(template))
    what = "UEFI with Secure Boot and enrolled keys" if secure else "UEFI"
    raise invalid_option(
        "firmware",
        "uefi-secure" if secure else "uefi",
        f"needs {what} for {arch} and {machine}, which is not installed on this host",
        f"Install it ({_PACKAGES[arch]}), or give the path of its code.",
    )


def descriptors(folders: t.Sequence[str] = FOLDERS) -> list[dict[str, t.Any]]:
    """What is installed, in the order in which it is to be tried. What is not a descriptor is passed over."""
    by_name: dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        by_name.update({name: os.path.join(folder, name) for name in names if name.endswith(".json")})
    found = []
    for _name, path in sorted(by_name.items()):
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            found.append(content)
    return found


def _described(
    descriptor: t.Mapping[str, t.Any], arch: str, machine: str, secure: bool, plain: bool
) -> t.Optional[Build]:
    """The build of a descriptor, if it is for this machine, and has Secure Boot on or not as wanted.

    ``plain``: one that is to have it off does not even know of it.
    """
    try:
        if "uefi" not in descriptor["interface-types"] or not _targets(descriptor["targets"], arch, machine):
            return None
        features = set(descriptor["features"])
        # Without keys Secure Boot is off; with them it is on.
        if secure != ("secure-boot" in features and "enrolled-keys" in features):
            return None
        if not secure and ("requires-smm" in features or (plain and "secure-boot" in features)):
            return None
        mapping = descriptor["mapping"]
        if mapping["device"] != "flash" or mapping.get("mode", "split") != "split":
            return None
        code, template = mapping["executable"], mapping["nvram-template"]
        build = Build(code["filename"], code["format"], template["filename"], template["format"])
    except (KeyError, TypeError):
        return None
    return build if os.path.exists(build.code) and os.path.exists(str(build.template)) else None


def _targets(targets: t.Iterable[t.Mapping[str, t.Any]], arch: str, machine: str) -> bool:
    return any(
        target["architecture"] == arch and any(fnmatch.fnmatchcase(machine, each) for each in target["machines"])
        for target in targets
    )


def _given(wanted: t.Mapping[str, t.Any]) -> Build:
    """The files that the user names."""
    formats = {}
    for key in ("code", "vars"):
        path = wanted[key]
        try:
            formats[key] = None if path is None else _format_of(path)
        except OSError as error:
            raise invalid_option(
                f"firmware.{key}", path, f"cannot be read: {error.strerror}", "Give the path of a firmware file."
            ) from None
    return Build(wanted["code"], str(formats["code"]), wanted["vars"], formats["vars"])


def _format_of(path: str) -> str:
    """The format of a file that comes with the host, of which there are two. Never asked of one that a guest wrote."""
    with open(path, "rb") as file:
        return "qcow2" if file.read(4) == _QCOW2 else "raw"
