# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rule looks at which field: by what it is, and for a few by where it stands."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.guard import rules_block as block
from ansible_collections.maqet.qemu.plugins.module_utils.guard import rules_files as files
from ansible_collections.maqet.qemu.plugins.module_utils.guard import rules_net as net
from ansible_collections.maqet.qemu.plugins.module_utils.guard import rules_values as values
from ansible_collections.maqet.qemu.plugins.module_utils.guard.case import Case
from ansible_collections.maqet.qemu.plugins.module_utils.guard.verdict import Refusal
from ansible_collections.maqet.qemu.plugins.module_utils.guard.walk import Leaf

Rule = t.Callable[[Leaf, Case], t.Optional[Refusal]]


class Kind(t.NamedTuple):
    """A kind of field: its rule, and the class of the power that it has."""

    rule: Rule
    power: str


def _read(leaf: Leaf, case: Case) -> Refusal | None:
    return files.old_file(leaf, case, "read")


def _write(leaf: Leaf, case: Case) -> Refusal | None:
    return files.old_file(leaf, case, "write")


def _dump(leaf: Leaf, case: Case) -> Refusal | None:
    """dump-guest-memory's ``protocol``: file:PATH, or fd:NAME."""
    text = str(leaf.value)
    if not text.startswith("file:"):
        return case.refuse(leaf, "does not begin with 'file:'", "Write file:NAME with a new name in the output folder.")
    return files.new_file(leaf, case, name=text[len("file:") :], prefix="file:")


#: By kind of field; names of kinds as in the classification.
KINDS: t.Final[dict[str, Kind]] = {
    "ident": Kind(values.plain, "guest"),
    "ref": Kind(values.plain, "guest"),
    "node-ref": Kind(values.plain, "guest"),
    "secret-ref": Kind(values.plain, "guest"),
    "secret": Kind(values.plain, "guest"),
    "opaque": Kind(values.plain, "guest"),
    "guest-data": Kind(values.plain, "guest"),
    "path-match": Kind(values.plain, "guest"),
    "net-config": Kind(values.plain, "guest"),
    "qom": Kind(values.qom, "guest"),
    "qom-value": Kind(values.plain, "guest"),
    "flag": Kind(values.closed, "host-file"),
    "path-read": Kind(_read, "host-file"),
    "path-rw": Kind(_write, "host-file"),
    "path-write": Kind(files.new_file, "host-file"),
    "path-listen": Kind(net.unix_listen, "host-net"),
    "path-connect": Kind(net.unix_connect, "host-net"),
    "path-mount": Kind(values.closed, "host-file"),
    "blk-filename": Kind(block.medium, "host-file"),
    "blk-filename-write": Kind(block.image_target, "host-file"),
    "blk-filename-stored": Kind(block.stored_name, "host-file"),
    "uri-file": Kind(_dump, "host-file"),
    "uri-net": Kind(net.url, "host-net"),
    "uri-exec": Kind(net.migration_uri, "host-exec"),
    "net-listen": Kind(net.endpoint, "host-net"),
    "net-connect": Kind(net.endpoint, "host-net"),
    "net-target": Kind(net.target, "host-net"),
    "host-device": Kind(values.host_device, "host-file"),
    "exec": Kind(values.program, "host-exec"),
    "hmp": Kind(values.human_monitor, "host-exec"),
    "fd": Kind(values.descriptor, "host-file"),
    "monitor": Kind(values.closed, "host-exec"),
    "policy": Kind(values.closed, "host-exec"),
}

#: Fields that differ from the rest of their kind: (definition or command, path).
_SPECIAL: t.Final[dict[tuple[str, str], Rule]] = {
    ("ObjectOptions", "{memory-backend-file}.mem-path"): files.memory_file,
    ("ObjectOptions", "{tls-creds-anon}.dir"): files.folder,
    ("ObjectOptions", "{tls-creds-psk}.dir"): files.folder,
    ("ObjectOptions", "{tls-creds-x509}.dir"): files.folder,
    ("ObjectOptions", "{tls-cipher-suites}.dir"): files.folder,
    ("Netdev", "{user}.tftp"): files.folder,
    ("Netdev", "{user}.hostfwd[].str"): net.forward,
    ("Netdev", "{tap}.ifname"): values.tap,
    ("BlockdevCreateOptions", "options{file}.filename"): block.created_file,
    ("BlockdevCreateOptions", "{file}.filename"): block.created_file,
}


#: Values that name nothing: no ROM, no script. And two files that give nothing away and take nothing.
_HARMLESS: t.Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("device_add", "romfile"): ("",),
    ("ObjectOptions", "{rng-random}.filename"): ("/dev/urandom", "/dev/random"),
    ("Netdev", "{tap}.script"): ("", "no"),
    ("Netdev", "{tap}.downscript"): ("", "no"),
}


def _harmless(leaf: Leaf) -> bool:
    return leaf.value in _HARMLESS.get((leaf.root, leaf.path), ())


def rule_of(leaf: Leaf) -> Rule | None:
    """The rule for a field; None for one that nobody has classified."""
    if _harmless(leaf):
        return values.plain
    special = _SPECIAL.get((leaf.root, leaf.path))
    if special is not None:
        return special
    if leaf.root == "BlockdevOptions" and leaf.kind in ("path-rw", "path-read") and leaf.key == "filename":
        return block.node_file
    kind = KINDS.get(leaf.kind) if leaf.kind is not None else None
    return None if kind is None else kind.rule


def power_of(leaf: Leaf) -> str:
    """The class of what this field reaches."""
    if _harmless(leaf):
        return "guest"
    kind = KINDS.get(leaf.kind) if leaf.kind is not None else None
    return "host-exec" if kind is None else kind.power
