# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the QEMU guest agent, as data: class, arguments, and what no log may hold.

They act inside the guest, as its root, and do not touch the host; so the classes are those of QMP up to
``disclosure``, and then the agent's own powers. Sources: ``guest-info`` of the agents 7.2 and 11.1, and
the QGA reference of QEMU 11.1. A command that is not here is denied.
"""

from __future__ import annotations

import typing as t

_NAMES: t.Final = {
    "introspect": "guest-sync guest-sync-delimited guest-ping guest-info",
    "read": """
        guest-get-time guest-fsfreeze-status guest-network-get-interfaces guest-network-get-route guest-get-vcpus
        guest-get-disks guest-get-fsinfo guest-get-memory-blocks guest-get-memory-block-info guest-get-host-name
        guest-get-users guest-get-timezone guest-get-osinfo guest-get-devices guest-get-diskstats
        guest-get-cpustats guest-get-load
    """,
    "guest": "guest-fsfreeze-thaw guest-fstrim",
    "availability": """
        guest-set-time guest-shutdown guest-fsfreeze-freeze guest-fsfreeze-freeze-list guest-suspend-disk
        guest-suspend-ram guest-suspend-hybrid guest-set-vcpus guest-set-memory-blocks
    """,
    "disclosure": "guest-file-read guest-exec-status guest-ssh-get-authorized-keys",
    "guest-file": "guest-file-open guest-file-close guest-file-write guest-file-seek guest-file-flush",
    "guest-auth": "guest-set-user-password guest-ssh-add-authorized-keys guest-ssh-remove-authorized-keys",
    "guest-exec": "guest-exec",
}

#: Command -> class.
CLASS_OF: t.Final[dict[str, str]] = {name: klass for klass, names in _NAMES.items() for name in names.split()}

#: All classes of the agent's commands, in rising power.
CLASSES: t.Final = ("read", "introspect", *(name for name in _NAMES if name not in ("read", "introspect")))

#: Classes whose commands need consent unless the host's policy says otherwise, and why.
WHY_CONSENT: t.Final = {
    "disclosure": "it reads what the guest's root may read",
    "guest-file": "it opens and writes files as the guest's root",
    "guest-auth": "it changes who may log in to the guest",
    "guest-exec": "it runs a program as the guest's root",
}

#: Commands that answer nothing when they succeed (``success-response: false`` of the reference).
SILENT: t.Final = frozenset("guest-shutdown guest-suspend-disk guest-suspend-ram guest-suspend-hybrid".split())

#: Command -> arguments as ``name:kind``, with ``?`` after the name of one that may be left out.
ARGUMENTS: t.Final[dict[str, str]] = {
    "guest-sync": "id:int",
    "guest-sync-delimited": "id:int",
    "guest-set-time": "time?:int",
    "guest-shutdown": "mode?:shutdown",
    "guest-file-open": "path:str mode?:str",
    "guest-file-close": "handle:int",
    "guest-file-read": "handle:int count?:int",
    "guest-file-write": "handle:int buf-b64:base64 count?:int",
    "guest-file-seek": "handle:int offset:int whence:whence",
    "guest-file-flush": "handle:int",
    "guest-fsfreeze-freeze-list": "mountpoints?:strings",
    "guest-fstrim": "minimum?:int",
    "guest-set-vcpus": "vcpus:processors",
    "guest-set-user-password": "username:str password:base64 crypted:bool",
    "guest-set-memory-blocks": "mem-blks:blocks",
    "guest-exec": "path:str arg?:strings env?:strings input-data?:base64 capture-output?:capture",
    "guest-exec-status": "pid:int",
    "guest-ssh-get-authorized-keys": "username:str",
    "guest-ssh-add-authorized-keys": "username:str keys:strings reset?:bool",
    "guest-ssh-remove-authorized-keys": "username:str keys:strings",
}

#: Kinds that are one of a few words; ``int`` and ``bool`` stand for any value of the type.
WORDS: t.Final[dict[str, tuple[t.Any, ...]]] = {
    "shutdown": ("halt", "powerdown", "reboot"),
    "whence": (int, "set", "cur", "end"),
    "capture": (bool, "none", "stdout", "stderr", "separated", "merged"),
}

#: Kinds that are lists of objects, with the fields of those.
OBJECTS: t.Final = {
    "processors": "logical-id:int online:bool can-offline?:bool",
    "blocks": "phys-index:int online:bool can-offline?:bool",
}
