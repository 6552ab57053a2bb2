# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attacks of our own that go for files: other spellings of a path, and files that are none."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.maqet.qemu.tests.integration.local.attacks.table import (
    ORIGINAL,
    Attack,
    Place,
    Step,
    accepted,
    both,
    files,
    listens,
    made,
    one,
    original,
    overwritten,
    reaches,
    shadow,
    unix_listener,
)


def _dump(name: str, filename: str, effect: t.Any, **more: t.Any) -> Attack:
    """A page of guest memory into a file of this name: all that differs is how the file is named."""
    arguments = {"val": 0, "size": 16, "filename": filename}
    return one(name, "path-write", "pmemsave", arguments, effect, blames="filename", **more)


def _hard_link(place: Place) -> None:
    link = place.allowed / "hard.bin"
    link.unlink(missing_ok=True)
    os.link(place.victim / "target", link)


def _symlinked_folder(place: Place) -> None:
    (place.allowed / "sub").symlink_to(place.victim)


def _fifo(place: Place) -> t.Callable[[], None]:
    os.mkfifo(place.allowed / "pipe")
    # A reader, so that a QEMU which opens the pipe does not wait for one for ever.
    descriptor = os.open(place.allowed / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    return lambda: os.close(descriptor)


def _proc_root(place: Place) -> None:
    (place.allowed / "root").symlink_to("/proc/self/root")


SPELLINGS = (
    _dump("f-hard-link", "<allowed>/hard.bin", overwritten("<victim>/target"), prepare=both(original, _hard_link)),
    _dump(
        "f-symlinked-folder",
        "<allowed>/sub/target",
        overwritten("<victim>/target"),
        prepare=both(original, _symlinked_folder),
    ),
    _dump("f-proc-self-root", "/proc/self/root<victim>/target", overwritten("<victim>/target"), prepare=original),
    _dump(
        "f-link-to-proc-root",
        "<allowed>/root<victim>/target",
        overwritten("<victim>/target"),
        prepare=both(original, _proc_root),
    ),
    _dump("f-dev-fd", "/dev/fd/2", accepted),
    _dump("f-proc-thread-fd", "/proc/thread-self/fd/2", accepted),
    _dump("f-doubled-slashes", "//<victim>//./target", overwritten("<victim>/target"), prepare=original),
    _dump("f-fifo", "<allowed>/pipe", accepted, prepare=_fifo),
    _dump("f-socket", "<allowed>/socket", reaches("No such device"), prepare=unix_listener("<allowed>/socket")),
    _dump("f-folder", "<allowed>", reaches("Is a directory")),
    _dump("f-trailing-slash", "<allowed>/", reaches("Is a directory")),
    _dump("f-empty-name", "", reaches("No such file")),
    _dump("f-very-long", "<allowed>/" + "x" * 5000, reaches("too long")),
    _dump("f-very-long-climb", "<allowed>/" + "./" * 900 + "../" * 40 + "tmp/x", "too long for some folders"),
    _dump("f-newline", "<allowed>/a\nb", made("<allowed>/a\nb")),
    _dump("f-nul", "<allowed>/a\0b", "QEMU's parser takes no NUL"),
    _dump("f-dev-null", "/dev/null", accepted),
    _dump("f-the-audit-log", "/var/log/maqet/x.audit.jsonl", "would harm this host's own log"),
    one(
        "f-dump-fd",
        "uri-file fd",
        "dump-guest-memory",
        {"paging": False, "protocol": "fd:core"},
        reaches("descriptor"),
        blames="protocol",
    ),
    one(
        "f-dump-climbs",
        "uri-file",
        "dump-guest-memory",
        {"paging": False, "protocol": "file:<allowed>/../climbed"},
        made("<allowed>/../climbed"),
        blames="protocol",
    ),
    one(
        "f-dump-other-scheme",
        "uri-file",
        "dump-guest-memory",
        {"paging": False, "protocol": "FILE:<allowed>/x"},
        "QEMU knows its schemes in lower case",
        blames="protocol",
    ),
    one(
        "f-screendump-hard-link",
        "path-write",
        "screendump",
        {"filename": "<allowed>/hard.bin"},
        overwritten("<victim>/target"),
        blames="filename",
        prepare=both(original, _hard_link),
    ),
    one(
        "f-memsave-everything",
        "pmemsave.size",
        "memsave",
        {"val": 0, "size": 1 << 60, "filename": "<allowed>/big.bin"},
        reaches("Invalid addr"),
        blames="size",
    ),
    one(
        "f-pmemsave-everything",
        "pmemsave.size",
        "pmemsave",
        {"val": 0, "size": 1 << 60, "filename": "<allowed>/big.bin"},
        "would fill the disk",
        blames="size",
    ),
    one(
        "f-dumpdtb",
        "path-write",
        "dumpdtb",
        {"filename": "<victim>/target"},
        reaches("not have a FDT", "doesn't have"),
        blames="filename",
        prepare=original,
    ),
    one(
        "f-xen-save",
        "path-write",
        "xen-save-devices-state",
        {"filename": "<victim>/target"},
        overwritten("<victim>/target"),
        blames="filename",
        prepare=original,
    ),
    one(
        "f-xen-load",
        "path-read",
        "xen-load-devices-state",
        {"filename": "<victim>/shadow"},
        lambda seen: seen.dead,
        blames="filename",
        prepare=shadow,
    ),
)


def _chardev(name: str, kinds: str, backend: str, data: dict[str, t.Any], effect: t.Any, **more: t.Any) -> Attack:
    return one(name, kinds, "chardev-add", {"id": name, "backend": {"type": backend, "data": data}}, effect, **more)


CHARDEVS = (
    _chardev("c-in", "path-read", "file", {"in": "<victim>/shadow", "out": "<allowed>/o"}, accepted, prepare=shadow),
    _chardev("c-append", "path-write", "file", {"out": "<victim>/target", "append": True}, accepted, prepare=original),
    _chardev("c-pipe", "path-rw", "pipe", {"device": "<victim>/pipe"}, reaches("No such file")),
    _chardev("c-serial", "path-rw host-device", "serial", {"device": "<victim>/tty"}, reaches("No such file")),
    _chardev("c-parallel", "path-rw", "parallel", {"device": "<victim>/lp"}, reaches("No such file")),
    _chardev("c-log-udp", "path-write", "memory", {"logfile": "<victim>/target"}, accepted, prepare=original),
    _chardev("c-log-pty", "path-write", "pty", {"logfile": "<victim>/target"}, accepted, prepare=original),
    _chardev("c-pty-path", "path-write", "pty", {"path": "<victim>/pty"}, "pty.path is younger than QEMU 7.2"),
    _chardev(
        "c-unix-server",
        "path-listen chardev-add.server",
        "socket",
        {"addr": {"type": "unix", "data": {"path": "<victim>/target"}}, "server": True, "wait": False},
        listens("unix", "<victim>/target"),
        prepare=original,
    ),
    _chardev(
        "c-unix-abstract",
        "path-listen",
        "socket",
        {"addr": {"type": "unix", "data": {"path": "mq<port>", "abstract": True}}, "server": True, "wait": False},
        accepted,
    ),
    _chardev(
        "c-unix-client",
        "path-connect",
        "socket",
        {"addr": {"type": "unix", "data": {"path": "<run>/peer"}}, "server": False},
        accepted,
        prepare=unix_listener("<run>/peer"),
    ),
    _chardev(
        "c-telnet",
        "net-listen chardev-add.telnet",
        "socket",
        {
            "addr": {"type": "inet", "data": {"host": "0.0.0.0", "port": "<port>"}},
            "server": True,
            "wait": False,
            "telnet": True,
        },
        listens(),
    ),
    _chardev(
        "c-connects",
        "net-connect",
        "socket",
        {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": "<port>"}}, "server": False, "reconnect": 5},
        accepted,
    ),
    _chardev(
        "c-vsock",
        "net-listen",
        "socket",
        {"addr": {"type": "vsock", "data": {"cid": "4294967295", "port": "1234"}}, "server": True, "wait": False},
        reaches("vsock", "bind", "socket"),
    ),
    _chardev(
        "c-fd", "fd", "socket", {"addr": {"type": "fd", "data": {"str": "1"}}, "server": False}, reaches("socket", "fd")
    ),
    _chardev(
        "c-udp",
        "net-connect",
        "udp",
        {"remote": {"type": "inet", "data": {"host": "127.0.0.1", "port": "<port>"}}},
        accepted,
    ),
    _chardev(
        "c-udp-local",
        "net-listen",
        "udp",
        {
            "remote": {"type": "inet", "data": {"host": "127.0.0.1", "port": "9"}},
            "local": {"type": "inet", "data": {"host": "0.0.0.0", "port": "<port>"}},
        },
        listens("udp"),
    ),
    one(
        "c-change-console",
        "chardev-change path-write",
        "chardev-change",
        {"id": "maqet-serial", "backend": {"type": "file", "data": {"out": "<victim>/target"}}},
        overwritten("<victim>/target", begins=b""),
        prepare=files(target=ORIGINAL),
    ),
    Attack(
        "c-typo-in-union",
        "unknown-field",
        (
            Step("chardev-add", {"id": "c1", "backend": {"type": "null", "data": {"LogFile": "<victim>/x"}}}),
            Step("chardev-add", {"id": "c1", "backend": {"type": "null", "data": {"out": "<victim>/x"}}}),
            Step("chardev-add", {"id": "c1", "backend": {"type": "null", "data": {"logfile": ["<victim>/x"]}}}),
        ),
        "QEMU refuses them too, but the guard must have an opinion of its own",
    ),
)
