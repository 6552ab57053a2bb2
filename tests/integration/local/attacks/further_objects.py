# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks of our own through objects, devices, QOM, tracing, and on the runner's own channels."""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    Attack,
    accepted,
    made,
    one,
    reaches,
    shadow,
)

#: Chardevs of the guarded VM that belong to its runner. A bare QEMU has others.
MONITOR, DIRECT, SERIAL = "maqet-monitor", "maqet-direct", "maqet-serial"
NOT_OURS = "a bare QEMU has no channels of a runner"


def _object(name: str, kinds: str, kind: str, properties: dict[str, t.Any], effect: t.Any, **more: t.Any) -> Attack:
    return one(name, kinds, "object-add", {"qom-type": kind, "id": name, **properties}, effect, **more)


_MEMORY: dict[str, t.Any] = {"size": 1 << 20, "mem-path": "<victim>/ram"}

OBJECTS = (
    _object(
        "o-rng-random", "path-read host-device", "rng-random", {"filename": "<victim>/shadow"}, accepted, prepare=shadow
    ),
    _object(
        "o-secret-file-base64",
        "path-read",
        "secret",
        {"file": "<victim>/shadow", "format": "base64"},
        reaches("Base64"),
        prepare=shadow,
    ),
    _object("o-keyring", "secret-ref", "secret_keyring", {"serial": 1}, reaches("key", "keyring", "Unable")),
    _object(
        "o-mem-readonly",
        "path-rw object-add{memory-backend-file}",
        "memory-backend-file",
        {**_MEMORY, "readonly": True, "share": False},
        reaches("open", "No such"),
    ),
    _object(
        "o-mem-discard",
        "object-add{memory-backend-file}",
        "memory-backend-file",
        {**_MEMORY, "discard-data": True, "share": True},
        made("<victim>/ram"),
    ),
    _object("o-mem-folder", "path-rw", "memory-backend-file", {"size": 1 << 20, "mem-path": "<victim>"}, accepted),
    _object(
        "o-mem-devmem",
        "path-rw",
        "memory-backend-file",
        {"size": 1 << 20, "mem-path": "/dev/mem", "share": True},
        reaches("map", "open", "mem", "size"),
    ),
    _object(
        "o-tls-dir",
        "path-read",
        "tls-creds-x509",
        {"dir": "<victim>", "endpoint": "server"},
        reaches("ca-cert", "CA cert", "Unable", "Missing"),
    ),
    _object(
        "o-tls-unverified",
        "tls-creds-x509.verify-peer",
        "tls-creds-x509",
        {"dir": "<allowed>", "endpoint": "server", "verify-peer": False},
        reaches("ert", "Missing"),
    ),
    _object(
        "o-tls-psk",
        "path-read",
        "tls-creds-psk",
        {"dir": "<victim>", "endpoint": "server"},
        reaches("psk", "Unable", "Missing", "No such"),
    ),
    _object("o-tls-anon", "path-read", "tls-creds-anon", {"dir": "<victim>", "endpoint": "server"}, accepted),
    _object(
        "o-authz-listfile",
        "path-read policy",
        "authz-listfile",
        {"filename": "<victim>/shadow"},
        "a module that Debian does not install",
        prepare=shadow,
    ),
    _object("o-authz-list-allow", "policy authz-list.policy", "authz-list", {"policy": "allow"}, accepted),
    _object("o-authz-simple", "policy", "authz-simple", {"identity": "CN=mallory"}, accepted),
    _object("o-authz-pam", "policy", "authz-pam", {"service": "login"}, "a module that Debian does not install"),
    _object(
        "o-input-linux",
        "host-device object-add{input-linux}.grab_all",
        "input-linux",
        {"evdev": "/dev/input/event0", "grab_all": True},
        reaches("open", "No such"),
    ),
    _object(
        "o-input-barrier",
        "net-connect",
        "input-barrier",
        {"name": "x", "server": "127.0.0.1", "port": "<port>"},
        reaches("onnect"),
    ),
    _object("o-can-host", "host-device", "can-host-socketcan", {"if": "can0", "canbus": "c0"}, reaches("not found")),
    _object("o-dbus-vmstate", "uri-net", "dbus-vmstate", {"addr": "unix:path=<run>/bus"}, reaches("onnect", "Failed")),
    _object(
        "o-monitor-qmp", "monitor", "monitor-qmp", {"chardev": "maqet-serial"}, "monitor-qmp is younger than QEMU 7.2"
    ),
    _object(
        "o-monitor-hmp", "monitor", "monitor-hmp", {"chardev": "maqet-serial"}, "monitor-hmp is younger than QEMU 7.2"
    ),
    _object("o-qtest-ours", "monitor", "qtest", {"chardev": SERIAL}, NOT_OURS),
    _object("o-remote-object", "fd", "x-remote-object", {"fd": "0", "devid": "d0"}, lambda seen: seen.dead),
    _object(
        "o-vfio-user",
        "path-connect",
        "x-vfio-user-server",
        {"socket": {"type": "unix", "path": "<run>/vfu"}, "device": "d0"},
        reaches("vfio", "server"),
    ),
    _object(
        "o-filter-dump-proc",
        "path-write",
        "filter-dump",
        {"netdev": "none", "file": "/proc/self/mem"},
        reaches("netdev", "none"),
    ),
    _object("o-iommufd", "fd", "iommufd", {"fd": "3"}, "iommufd is younger than QEMU 7.2"),
    _object(
        "o-sev",
        "path-read host-device",
        "sev-guest",
        {"cbitpos": 47, "reduced-phys-bits": 1, "dh-cert-file": "<victim>/shadow"},
        accepted,
        prepare=shadow,
    ),
    one(
        "o-typo",
        "unknown-field",
        "object-add",
        {"qom-type": "iothread", "id": "ot", "file": "<victim>/shadow"},
        "QEMU refuses it too",
    ),
    one(
        "o-props",
        "unknown-field",
        "object-add",
        {"qom-type": "secret", "id": "op", "props": {"file": "<victim>/s"}},
        "QEMU refuses it too",
    ),
)
