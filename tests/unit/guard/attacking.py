# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values that reach for the host, by the kind of field that they are put into, in every spelling that we know of."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t
from dataclasses import dataclass

from hypothesis import strategies as st

Values = st.SearchStrategy[t.Any]


@dataclass(frozen=True)
class World:
    """A VM's home with what an attacker could have prepared in it, and a file outside that is to be reached."""

    home: pathlib.Path
    outside: pathlib.Path

    @property
    def output(self) -> pathlib.Path:
        return self.home / "output"


def make_world(root: pathlib.Path) -> World:
    """Links of all sorts in the output folder, which lead to the file outside."""
    world = World(root / "vm", root / "outside" / "secret")
    for folder in (world.output, world.home / "disks", world.outside.parent):
        folder.mkdir(parents=True)
    world.outside.write_text("secret", "utf-8")
    (world.home / "disks" / "own.raw").write_bytes(b"\0" * 512)
    (world.output / "link").symlink_to(world.outside)
    (world.output / "folder").symlink_to(world.outside.parent)
    (world.output / "root").symlink_to("/proc/self/root")
    os.link(world.outside, world.output / "hard")
    os.mkfifo(world.output / "fifo")
    return world


def paths(world: World) -> Values:
    """Names of files that are not the VM's own, whoever is asked."""
    outside, output = str(world.outside), str(world.output)
    up = "../" * 12
    plain = st.sampled_from(
        [
            outside,
            "/etc/shadow",
            "/dev/sda",
            "/dev/mem",
            "/var/log/maqet/web1.audit.jsonl",
            f"{world.home}/definition.json",
            f"{output}/link",
            f"{output}/hard",
            f"{output}/fifo",
            f"{output}/folder/secret",
            f"{output}/root{outside}",
            f"{output}/../definition.json",
            "link",
            "folder/secret",
            "./folder/./secret",
            f"{up}{outside[1:]}",
            f"folder/{up}etc/shadow",
            f"{output}2/x",
        ]
    )
    doors = st.sampled_from(
        [
            "/proc/self/mem",
            "/proc/self/fd/3",
            "/proc/thread-self/fd/3",
            f"/proc/self/root{outside}",
            f"/proc/1/root{outside}",
            "/dev/fd/3",
            "/dev/stdout",
            "/dev/fdset/1",
            "/dev/fdset/0",
            "/sys/kernel/uevent_helper",
        ]
    )
    return st.one_of(plain, doors, st.builds(_respelled, plain, st.integers(0, 11)), prefixed(world), broken(world))


def _respelled(path: str, way: int) -> str:
    """The same place in other words."""
    ways = (
        path.replace("/", "//"),
        path.replace("/", "/./"),
        path + "/",
        path + "/.",
        f"//{path}",
        f"{path}/../{os.path.basename(path)}",
        path.upper() if path.startswith("/") else f"../{path}",
        f"./../{path}",
        f"{path}\n",
        f" {path}" if path.startswith("..") else f"/../{path}",
        f"/.{path}" if path.startswith("/") else f"../output/../{path}",
        f"{path},size=1",
    )
    return ways[way]


def prefixed(world: World) -> Values:
    """A name that QEMU's block layer takes for something else, in this case or that."""
    outside = str(world.outside)
    node = {"driver": "raw", "file": {"driver": "file", "filename": outside}}
    texts = [
        f"file:{outside}",
        f"FILE:{outside}",
        f"json:{json.dumps(node)}",
        f"json: {json.dumps({'driver': 'file', 'filename': outside})}",
        f"json:{json.dumps({'driver': 'raw', 'file.driver': 'file', 'file.filename': outside})}",
        f"blkdebug::{outside}",
        f"blkverify:{outside}:{outside}",
        f"host_device:{outside}",
        f"fat:{world.outside.parent}",
        f"fat:rw:16:{world.outside.parent}",
        f"raw:{outside}",
        "nbd:127.0.0.1:10809",
        "nbd:unix:/run/x.sock",
        "nbd://127.0.0.1/x",
        "nbd+unix:///x?socket=/run/x.sock",
        "http://127.0.0.1/x",
        "https://user:pass@127.0.0.1/x",
        "ftp://127.0.0.1/x",
        "ssh://root@127.0.0.1/etc/shadow",
        "nfs://127.0.0.1/x",
        "rbd:pool/image:conf=/etc/x",
        "iscsi://127.0.0.1/iqn.x/0",
        "gluster://127.0.0.1/v/p",
        "vxhs://127.0.0.1/x",
        "nvme://0000:00:00.0/1",
        "exec:id",
        "fd:3",
    ]
    return st.sampled_from(texts)


def broken(world: World) -> Values:
    """What is no name at all, or looks like one."""
    return st.one_of(
        st.sampled_from(
            ["", ".", "..", "/", "//", "a\0b", "a\nb", "\x7f", "x" * 300, "d/" * 3000 + "x", "a/../b", "\ud800"]
        ),
        st.builds(lambda depth: "/".join([".."] * depth) + str(world.outside), st.integers(1, 40)),
    )


_HOSTS = (
    "127.0.0.1",
    "0.0.0.0",
    "",
    "::",
    "::1",
    "localhost",
    "LOCALHOST",
    "203.0.113.9",
    "127.1",
    "0x7f000001",
    "evil.example",
)
_PROGRAMS = ("/bin/sh", "sh -c id", "id", "/etc/qemu-ifup", "yes", "NO", "no ", " no", "./no", "tcp:10.0.2.9:80-cmd:id")
_FORWARDS = (
    "tcp::2222-:22",
    "tcp:0.0.0.0:2222-:22",
    "udp::53-:53",
    ":127.0.0.1:2222-:22",
    "::2222-:22",
    "tcp:127.0.0.1:02222-:22",
)
_HMP = (
    *(
        "migrate exec:id",
        "  migrate -d exec:id",
        "logfile /etc/x",
        "log all",
        "gdbserver",
        "qemu-io d0 quit",
        "savevm x",
    ),
    *(
        "change vnc password x",
        "drive_add 0 file=/etc/shadow",
        "chardev-add file,id=x,path=/etc/x",
        "pmemsave 0 1 /etc/x",
    ),
    *(
        "info version\nmigrate exec:id",
        "hostfwd_add tcp::1-:1",
        "wavcapture /etc/x",
        "object_add secret,id=x,file=/etc/x",
        "",
    ),
)


def values(kind: str, command: str, world: World) -> Values | None:
    """Attacking values for a kind of field; None for a kind without power."""
    files = paths(world)
    nodes = st.builds(lambda name: {"driver": "file", "filename": name}, files)
    by_kind: dict[str, Values] = {
        **dict.fromkeys(("path-read", "path-write", "path-rw", "path-listen", "path-connect", "path-mount"), files),
        **dict.fromkeys(("blk-filename", "blk-filename-write"), files),
        "blk-filename-stored": files.filter(lambda name: name != ""),  # an empty one takes the reference away
        "uri-file": st.one_of(
            files.map(lambda name: f"file:{name}"), files, st.sampled_from(["fd:3", "FILE:x", "file:"])
        ),
        "uri-exec": st.one_of(
            files.map(lambda name: f"file:{name}"),
            st.sampled_from(["exec:id", "EXEC:id", " exec:id", "exec :id", "fd:3", "fd:mine", "rdma:127.0.0.1:1"]),
            st.sampled_from(_HOSTS).map(lambda host: f"tcp:{host}:4444"),
            st.sampled_from(
                ["tcp:127.0.0.1:4444,to=4446", "tcp::4444", "unix:/run/x", "vsock:2:1", "4444", "", "x-y:z"]
            ),
        ),
        "uri-net": st.sampled_from(
            ["http://127.0.0.1/x", "https://[::1]/", "unix:path=/run/bus", "tcp:host=127.0.0.1,port=1"]
        ),
        "net-listen": st.sampled_from(_HOSTS + _FORWARDS),
        "net-connect": st.sampled_from([*_HOSTS, ":4444", "127.0.0.1:4444", "230.0.0.1:1", "2"]),
        "net-target": st.sampled_from(["127.0.0.1", "iqn.x", "/etc/shadow", "root"]),
        "host-device": st.sampled_from(
            ["/dev/sda", "/dev/input/event0", "eth0", "tap0", "br0", "0000:00:02.0", "1", ""]
        ),
        "fd": st.sampled_from(["0", "3", "mine", "3:4", "/dev/fd/3", "-1", ""]),
        "exec": st.sampled_from(_PROGRAMS),
        "monitor": st.sampled_from(["serial0", "maqet-serial", "maqet-monitor"]),
        "policy": st.sampled_from(["*", "CN=mallory", "login"]),
        "hmp": st.sampled_from(_HMP),
        "node-ref": nodes,
        "ref": st.sampled_from(["maqet-monitor", "maqet-direct"]),
    }
    return by_kind.get(kind)
