# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interfaces of this host for the cards of VMs: those that are named, and those that a runner makes.

A tap is gone when the last descriptor of it is closed, which is QEMU's (Documentation/networking/tuntap.rst). A macvtap
stays, so it bears its VM's name in its alias, by which it is found and removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import struct
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.host import netlink
from ansible_collections.maqet.qemu.plugins.module_utils.host.netlink import Link

TUN = "/dev/net/tun"
VHOST = "/dev/vhost-net"

_TUNSETIFF = 0x400454CA  # _IOW('T', 202, int)
_TAP, _NO_PI, _VNET_HDR, _MULTI_QUEUE, _NEW = 0x0002, 0x1000, 0x4000, 0x0100, 0x8000
_IFREQ = struct.Struct("16sH22x")
# Attributes of a tap (include/uapi/linux/if_link.h).
_TUN_OWNER, _TUN_GROUP, _TUN_TYPE, _TUN_MULTI_QUEUE = 1, 2, 3, 7
_TAP_TYPE = 2
# Kinds whose packets another interface takes already, or that cannot carry a macvtap.
_NOT_BELOW = ("bridge", "tun", "macvtap", "macvlan")


def bridge(option: str, name: str, known: t.Mapping[str, Link]) -> Link:
    """The bridge of that name, or ``invalid_option`` with those that there are."""
    return _named(option, name, known, "a bridge", lambda link: link.kind == "bridge")


def below(option: str, name: str, known: t.Mapping[str, Link]) -> Link:
    """The interface over which a macvtap is to be, or ``invalid_option``."""
    link = _named(option, name, known, "an interface", lambda link: link.kind not in _NOT_BELOW and link.name != "lo")
    if link.master:
        raise invalid_option(option, name, "is a port of a bridge already", "Use type: bridge, with that bridge.")
    return link


def tap(option: str, name: str, known: t.Mapping[str, Link]) -> Link:
    """The tap of that name which this user may open, or ``invalid_option``.

    One that has neither an owner nor a group is everybody's (tun_not_capable() of the kernel).
    """
    link = _named(option, name, known, "a tap", is_tap)
    owner, group = (_integer(link.data.get(key)) for key in (_TUN_OWNER, _TUN_GROUP))
    if os.geteuid() == 0 or (owner in (None, os.geteuid()) and group in (None, *_groups())):
        return link
    whose = f"user {owner}" if owner is not None else f"group {group}"
    remedy = f"As root, make it anew: ip tuntap add dev {name} mode tap user {os.geteuid()}."
    raise invalid_option(option, name, f"belongs to {whose}", remedy)


def join(name: str, to: Link, mac: str, mtu: t.Optional[int], words: str) -> None:
    """Make a tap of ours a port of the bridge ``to``, and set it up; ``mac`` is the card's, ``words`` its alias.

    Its own address is higher than others, for a bridge takes the lowest of its ports', and not that of the card.
    """
    first = "fa" if mac.startswith("fe") else "fe"
    netlink.change(socket.if_nametoindex(name), first + mac[2:], mtu or to.mtu, to.index, words)


def is_tap(link: Link) -> bool:
    """Whether it is a tun device that carries frames, not packets."""
    return link.kind == "tun" and link.data.get(_TUN_TYPE, b"")[:1] == bytes([_TAP_TYPE])


def open_tap(option: str, name: str, queues: int, found: t.Optional[Link] = None) -> list[int]:
    """A descriptor for each queue of a tap that exists (``found``), or of one that comes into being and goes with them.

    Frames come with the header by which a virtio card leaves checksums and segments to the host.
    """
    several = queues > 1 or (found is not None and _integer(found.data.get(_TUN_MULTI_QUEUE)) == 1)
    flags = _TAP | _NO_PI | _VNET_HDR | (_MULTI_QUEUE if several else 0)
    with contextlib.ExitStack() as stack:
        fds: list[int] = []
        for number in range(queues):
            fd = _open(option, name, TUN)
            stack.callback(os.close, fd)
            new = _NEW if found is None and number == 0 else 0
            try:
                fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), flags | new))
            except OSError as error:
                raise _refused(option, name, queues, found is None, error) from None
            fds.append(fd)
        stack.pop_all()
        return fds


def open_macvtap(option: str, name: str, queues: int) -> list[int]:
    """A descriptor for each queue of a macvtap."""
    flags = _TAP | _NO_PI | _VNET_HDR | (_MULTI_QUEUE if queues > 1 else 0)
    with contextlib.ExitStack() as stack:
        fds: list[int] = []
        for _number in range(queues):
            fd = _open_node(option, name)
            stack.callback(os.close, fd)
            fcntl.ioctl(fd, _TUNSETIFF, _IFREQ.pack(name.encode(), flags))
            fds.append(fd)
        stack.pop_all()
        return fds


def open_vhost(queues: int) -> list[int]:
    """A descriptor for each queue of the kernel's own back end for virtio cards, or none where it has none."""
    fds: list[int] = []
    try:
        for _number in range(queues):
            fds.append(os.open(VHOST, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        for fd in fds:
            os.close(fd)
        return []
    return fds


def alias(vm: str, index: int) -> str:
    """What `ip link` shows of an interface that we made."""
    return f"maqet:{vm}:net{index}"


def forget(vm: str) -> None:
    """Remove the macvtaps of a VM whose QEMU is gone."""
    if os.geteuid() != 0:
        return
    try:
        ours = [link for link in netlink.links().values() if _is_ours(link, vm)]
    except OSError:  # no netlink here, hence nothing that was made by it
        return
    for link in ours:
        with contextlib.suppress(OSError):  # somebody else has removed it, or what is below it
            netlink.remove(link.index)


def _is_ours(link: Link, vm: str) -> bool:
    return link.kind == "macvtap" and link.alias.rpartition(":")[0] == alias(vm, 0).rpartition(":")[0]


def _named(option: str, name: str, known: t.Mapping[str, Link], what: str, fits: t.Callable[[Link], bool]) -> Link:
    link = known.get(name)
    if link is not None and fits(link):
        return link
    others = sorted(other.name for other in known.values() if fits(other) and other.name != "lo")
    there = f"This host has: {', '.join(others[:10])}." if others else f"This host has none: make {what} first."
    raise invalid_option(option, name, f"is not {what} that can be used here" if link else "does not exist", there)


def _open(option: str, name: str, path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        closed = isinstance(error, PermissionError)
        remedy = "Have root open it to everybody: mode 0666." if closed else "Load the kernel's module tun."
        raise invalid_option(option, name, f"needs {path}, which cannot be opened: {error.strerror}", remedy) from None


def _refused(option: str, name: str, queues: int, new: bool, error: OSError) -> MaqetError:
    if error.errno == errno.EBUSY and new:
        return invalid_option(option, name, "exists already, and is not this VM's", "Remove that interface.")
    if error.errno == errno.EBUSY:
        return invalid_option(option, name, "is in use by another process", "Give each card a tap of its own.")
    if error.errno == errno.EINVAL and queues > 1:
        return invalid_option(option, name, "has one queue only", "Make it with 'multi_queue', or leave queues out.")
    return invalid_option(option, name, f"cannot be opened: {error.strerror}", "See what 'ip -d link' says of it.")


def _open_node(option: str, name: str) -> int:
    """The device of a macvtap. Its node has the interface's number, which in a network namespace is not its alone."""
    index = socket.if_nametoindex(name)
    path = f"/dev/tap{index}"
    try:
        with open(f"/sys/class/net/{name}/macvtap/tap{index}/dev", encoding="ascii") as file:
            major, _colon, minor = file.read().strip().partition(":")
        device = os.makedev(int(major), int(minor))
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _no_node(option, name, f"{error.filename or path} cannot be opened: {error.strerror}") from None
    if not stat.S_ISCHR(os.fstat(fd).st_mode) or os.fstat(fd).st_rdev != device:
        os.close(fd)
        raise _no_node(option, name, f"{path} is of another network namespace")
    return fd


def _no_node(option: str, name: str, why: str) -> MaqetError:
    return invalid_option(option, name, f"is there, but {why}", "Use a bridge, or a host with devtmpfs on /dev.")


def _groups() -> set[int]:
    return {os.getegid(), *os.getgroups()}


def _integer(value: t.Optional[bytes]) -> t.Optional[int]:
    return int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big") if value else None
