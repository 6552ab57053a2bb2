# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stored form of a VM: what ``definition.json`` holds. Reading and writing the file is done elsewhere."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

FORMAT = 1


@dataclass(frozen=True)
class DiskFile:
    """The file behind a disk, as it was resolved when the VM was defined.

    ``driver`` is QEMU's block driver for its format; ``owned`` says that the collection made the file
    and may delete it; ``backing`` is the base image of an overlay and ``backing_driver`` its format.
    """

    path: str
    driver: str
    owned: bool = False
    backing: str | None = None
    backing_driver: str | None = None


@dataclass(frozen=True)
class Definition:
    """One VM: the user's intent, and what was decided once so that it stays (uuid, files by disk name)."""

    name: str
    uuid: str
    intent: dict[str, t.Any] = field(default_factory=dict)
    files: dict[str, DiskFile] = field(default_factory=dict)
    format: int = FORMAT

    def to_json(self) -> dict[str, t.Any]:
        """What to write: plain dictionaries that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: t.Any) -> Definition:
        """The other end of :meth:`to_json`. Raises ``state_unsafe`` for what this version cannot read."""
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT or isinstance(found, bool):
            raise _unsafe(
                f"has the format {found!r}, and this version of maqet.qemu reads {FORMAT}",
                "Use the version of the collection that wrote it, or a newer one.",
            )
        remedy = "Restore definition.json from a backup, or remove the VM's folder and define the VM anew."
        _demand(data, {"format": int, "name": str, "uuid": str, "intent": dict, "files": dict}, "it", remedy)
        files = {}
        for name, file in data["files"].items():
            _demand(file, _FILE_FIELDS, f"its disk {name!r}", remedy)
            files[name] = DiskFile(**file)
        return cls(**{**data, "files": files})


_TEXT_OR_NONE = (str, type(None))
_FILE_FIELDS: dict[str, t.Any] = {
    "path": str,
    "driver": str,
    "owned": bool,
    "backing": _TEXT_OR_NONE,
    "backing_driver": _TEXT_OR_NONE,
}


def _demand(data: t.Any, fields: t.Mapping[str, t.Any], what: str, remedy: str) -> None:
    """Exactly these fields, of these types."""
    if not isinstance(data, dict):
        raise _unsafe(f"is damaged: {what} is no object", remedy)
    wrong = sorted(set(map(str, data)) ^ set(fields))
    wrong += [key for key, kind in fields.items() if key in data and not isinstance(data[key], kind)]
    if wrong:
        raise _unsafe(f"is damaged: {what} has wrong, missing or unknown fields ({', '.join(wrong)})", remedy)


def _unsafe(problem: str, remedy: str) -> MaqetError:
    return MaqetError(f"The VM's stored definition {problem}. {remedy}", "state_unsafe")
