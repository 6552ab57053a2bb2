# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which VMs the platforms of a Molecule scenario are."""

from __future__ import annotations

import hashlib
import os
import re
import typing as t

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: molecule_vms
short_description: Which VMs the platforms of a Molecule scenario are
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - What the playbook C(maqet.qemu.molecule_create) makes of C(platforms) in a C(molecule.yml). The guide on Molecule in
    the documentation of this collection says what a platform may have.
positional: _input
options:
  _input:
    description: The platforms.
    type: list
    elements: dict
    required: true
  prefix:
    description: What the names of VMs begin with.
    type: str
    required: true
  ports:
    description: A free port for each platform.
    type: list
    elements: int
    required: true
  public_key:
    description: The ssh key with which Ansible logs in, as it is written in C(authorized_keys).
    type: str
    required: true
  images:
    description: Folder for images that have an address.
    type: path
    required: true
  folder:
    description: Folder from which relative paths of images begin.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: What would be made
  ansible.builtin.debug:
    msg: >-
      {{ platforms | maqet.qemu.molecule_vms(prefix='molecule-', ports=[2222], public_key='ssh-ed25519 AAAA',
      images='/var/lib/maqet/images', folder='/srv') }}
  vars:
    platforms:
      - name: instance
        image: https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2
"""

RETURN = r"""
_value:
  description:
    - One entry for each platform. C(vm) has options of M(maqet.qemu.maqet_vm), C(image) the image to be fetched, as the
      role P(maqet.qemu.vms#role) takes it, or nothing, and C(instance) what Molecule has to know of it.
  type: list
  elements: dict
"""

Options = t.Dict[str, t.Any]
USER = "molecule"
#: What a platform has that is no option of maqet_vm, and of which type.
OWN = {
    "name": str,
    "groups": list,
    "children": list,
    "image": str,
    "image_checksum": str,
    "image_size": (str, int),
    "ssh_user": str,
    "ssh_port": int,
}
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def molecule_vms(
    platforms: t.Any, *, prefix: str, ports: t.Sequence[int], public_key: str, images: str, folder: str
) -> list[Options]:
    """See DOCUMENTATION. Raises :class:`AnsibleFilterError` for a platform that cannot be understood."""
    if not isinstance(platforms, list) or not platforms:
        raise AnsibleFilterError(f"platforms: {platforms!r} is no list of VMs. Give each a name and an image.")
    if len(ports) < len(platforms):
        raise AnsibleFilterError(f"ports: {len(ports)} are too few for {len(platforms)} platforms.")
    found = []
    for index, (platform, port) in enumerate(zip(platforms, ports)):
        _check(platform, f"platforms[{index}]")
        user = str(platform.get("ssh_user", USER))
        port = int(platform.get("ssh_port", port))
        found.append(
            {
                "image": _fetched(platform),
                "vm": {
                    **{key: value for key, value in platform.items() if key not in OWN},
                    "name": prefix + platform["name"],
                    "disks": _disks(platform, images, folder),
                    "networks": [
                        {"type": "user", "hostfwd": [{"host_port": port, "guest_port": 22}]},
                        *platform.get("networks", []),
                    ],
                    "cloud_init": _cloud_init(platform, user, public_key),
                },
                "instance": {"instance": platform["name"], "address": "127.0.0.1", "port": port, "user": user},
            }
        )
    return found


def _check(platform: t.Any, where: str) -> None:
    if not isinstance(platform, dict) or not platform.get("name"):
        raise AnsibleFilterError(f"{where}: {platform!r} has no name.")
    types = {**OWN, "disks": list, "networks": list, "cloud_init": dict}
    for key, kind in types.items():
        if key in platform and not isinstance(platform[key], kind):  # type: ignore[arg-type] # mypy sees an object
            raise AnsibleFilterError(f"{where}.{key}: {platform[key]!r} is a {type(platform[key]).__name__}.")
    for part in ("user_data", "meta_data"):
        value = platform.get("cloud_init", {}).get(part, {})
        if not isinstance(value, dict):
            raise AnsibleFilterError(
                f"{where}.cloud_init.{part}: a text cannot be added to what Ansible needs. Make it a dictionary."
            )
    if not platform.get("image") and not platform.get("disks"):
        raise AnsibleFilterError(f"{where}: {platform['name']} has no image. Give the address or path of one.")
    if "image_checksum" in platform and not _remote(platform):
        raise AnsibleFilterError(f"{where}.image_checksum: it is for an image with an address, and this one has none.")


def _remote(platform: Options) -> bool:
    return bool(_REMOTE.match(platform.get("image", "")))


def _file(platform: Options) -> str:
    """Its name among images: two addresses whose files have the same name are two."""
    address = platform["image"]
    base = os.path.basename(address.partition("?")[0].partition("#")[0]) or "image"
    return f"{hashlib.sha256(address.encode()).hexdigest()[:8]}-{base}"


def _fetched(platform: Options) -> Options:
    if not _remote(platform):
        return {}
    checksum = {"checksum": platform["image_checksum"]} if "image_checksum" in platform else {}
    return {"name": _file(platform), "url": platform["image"], **checksum}


def _disks(platform: Options, images: str, folder: str) -> list[Options]:
    """An overlay of the image, which stays as it is, and the platform's own disks behind it."""
    others = platform.get("disks", [])
    if not platform.get("image"):
        return list(others)
    path = (
        os.path.join(images, _file(platform))
        if _remote(platform)
        else os.path.normpath(os.path.join(folder, os.path.expanduser(platform["image"])))
    )
    size = {"size": platform["image_size"]} if "image_size" in platform else {}
    return [{"name": "root", "base": path, **size}, *others]


def _cloud_init(platform: Options, user: str, public_key: str) -> Options:
    """The platform's own, with a user who may do everything and has the key, and the platform's name for the guest."""
    own = platform.get("cloud_init", {})
    data = own.get("user_data", {})
    ours = {
        "name": user,
        "ssh_authorized_keys": [public_key.strip()],
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "shell": "/bin/bash",
        "lock_passwd": True,
    }
    return {
        **own,
        "user_data": {**data, "users": [*data.get("users", []), ours]},
        "meta_data": {"local-hostname": platform["name"].replace("_", "-"), **own.get("meta_data", {})},
    }


class FilterModule:
    """Ansible's door to it."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name and function."""
        return {"molecule_vms": molecule_vms}
