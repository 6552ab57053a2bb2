# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of one VM in the form of Ansible's argument specs, for every module that takes them.

What they mean, and which values are sound, is said by the other files of this room.
"""

from __future__ import annotations

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition.disk_tuning import THROTTLES
from ansible_collections.maqet.qemu.plugins.module_utils.definition.disks import SOURCE_FORMATS

_THROTTLE = {
    key: {"type": "str" if key.startswith("bps") and not key.endswith("_length") else "int"} for key in THROTTLES
}
_DISK = {
    "name": {"type": "str"},
    "type": {"type": "str", "choices": ["disk", "cdrom"]},
    "size": {"type": "str"},
    "base": {"type": "path"},
    "clone": {"type": "path"},
    "clone_format": {"type": "str", "choices": list(SOURCE_FORMATS)},
    "checksum": {"type": "str"},
    "path": {"type": "path"},
    "format": {"type": "str", "choices": ["qcow2", "raw"]},
    "preallocation": {"type": "str", "choices": ["off", "metadata", "falloc", "full"]},
    "interface": {"type": "str", "choices": ["virtio", "scsi", "sata", "ide", "nvme", "usb"]},
    "readonly": {"type": "bool"},
    "cache": {"type": "str", "choices": ["none", "writeback", "writethrough", "directsync", "unsafe"]},
    "aio": {"type": "str", "choices": ["threads", "native", "io_uring"]},
    "discard": {"type": "str", "choices": ["unmap", "ignore"]},
    "detect_zeroes": {"type": "str", "choices": ["off", "on", "unmap"]},
    "serial": {"type": "str"},
    "bootindex": {"type": "int"},
    "throttle": {"type": "dict", "options": _THROTTLE},
}
_FORWARD = {
    "protocol": {"type": "str", "choices": ["tcp", "udp"]},
    "host_address": {"type": "str"},
    "host_port": {"type": "int", "required": True},
    "guest_address": {"type": "str"},
    "guest_port": {"type": "int", "required": True},
}
_NETWORK = {
    "type": {"type": "str", "choices": ["user", "bridge", "tap", "macvtap", "socket", "none"], "required": True},
    "model": {"type": "str"},
    "mac": {"type": "str"},
    "mtu": {"type": "int"},
    "queues": {"type": "int"},
    "bridge": {"type": "str"},
    "tap": {"type": "str"},
    "link": {"type": "str"},
    "mode": {"type": "str", "choices": ["bridge", "vepa", "private"]},
    "peer": {"type": "str"},
    "local": {"type": "str"},
    "remote": {"type": "str"},
    "restrict": {"type": "bool"},
    "network": {"type": "str"},
    "dns": {"type": "str"},
    "domain": {"type": "str"},
    "hostname": {"type": "str"},
    "ipv6": {"type": "bool"},
    "hostfwd": {"type": "list", "elements": "dict", "options": _FORWARD},
}
_TOPOLOGY = {level: {"type": "int"} for level in ("sockets", "dies", "cores", "threads")}
_SMBIOS = {
    **{key: {"type": "str"} for key in ("manufacturer", "product", "version", "serial", "sku", "family")},
    "oem_strings": {"type": "list", "elements": "str"},
}
_CLOCK = {
    "base": {"type": "str"},
    "source": {"type": "str", "choices": ["host", "rt", "vm"]},
    "driftfix": {"type": "str", "choices": ["none", "slew"]},
}
_BOOT = {"order": {"type": "list", "elements": "str"}, "menu": {"type": "bool"}}
_VNC = {"password": {"type": "str", "no_log": True}, "port": {"type": "int"}, "address": {"type": "str"}}
_WATCHDOG = {
    "model": {"type": "str", "choices": ["i6300esb", "ib700"]},
    "action": {
        "type": "str",
        "choices": ["reset", "shutdown", "poweroff", "inject-nmi", "pause", "debug", "none"],
    },
}
_USB = {
    **{key: {"type": "str"} for key in ("vendor", "product")},
    **{key: {"type": "int"} for key in ("bus", "addr")},
}
_HOST_DEVICE = {"usb": {"type": "dict", "options": _USB}, "pci": {"type": "str"}}
_DEVICE = {
    "driver": {"type": "str", "required": True},
    "id": {"type": "str"},
    "properties": {"type": "dict"},
}
_SHARE = {
    "path": {"type": "path", "required": True},
    "tag": {"type": "str"},
    "readonly": {"type": "bool"},
    "type": {"type": "str", "choices": ["9p"]},
    "security_model": {"type": "str", "choices": ["mapped-xattr", "none"]},
}
_CLOUD_INIT = {
    "user_data": {"type": "raw"},
    "meta_data": {"type": "raw"},
    "network_config": {"type": "raw"},
    "vendor_data": {"type": "raw"},
    "instance_id": {"type": "str"},
    "rerun": {"type": "bool"},
}
SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "state": {
        "type": "str",
        "choices": ["present", "running", "stopped", "paused", "restarted", "absent"],
        "default": "present",
    },
    "memory": {"type": "str"},
    "hugepages": {"type": "str"},
    "balloon": {"type": "bool"},
    "balloon_target": {"type": "str"},
    "cpus": {"type": "int"},
    "cpus_max": {"type": "int"},
    "cpu_topology": {"type": "dict", "options": _TOPOLOGY},
    "cpu_model": {"type": "str"},
    "cpu_features": {"type": "dict"},
    "machine": {"type": "str"},
    "arch": {"type": "str", "choices": ["x86_64", "aarch64"]},
    "accel": {"type": "str", "choices": ["auto", "kvm", "tcg"]},
    "uuid": {"type": "str"},
    "smbios": {"type": "dict", "options": _SMBIOS},
    "clock": {"type": "dict", "options": _CLOCK},
    "boot": {"type": "dict", "options": _BOOT},
    "firmware": {"type": "raw"},
    "tpm": {"type": "raw"},
    "kernel": {"type": "path"},
    "initrd": {"type": "path"},
    "cmdline": {"type": "str"},
    "disks": {"type": "list", "elements": "dict", "options": _DISK},
    "networks": {"type": "list", "elements": "dict", "options": _NETWORK},
    # Not for syslog; Task.conceal says later what is shown of it.
    "cloud_init": {"type": "dict", "options": _CLOUD_INIT, "no_log": True},
    "shares": {"type": "list", "elements": "dict", "options": _SHARE},
    "serial": {"type": "str", "choices": ["file", "socket", "none"]},
    "display": {"type": "str", "choices": ["none", "headless", "vnc"]},
    "vnc": {"type": "dict", "options": _VNC},
    "video": {"type": "str", "choices": ["", "vga", "virtio", "qxl", "cirrus", "bochs", "ramfb"]},
    "rng": {"type": "bool"},
    "watchdog": {"type": "dict", "options": _WATCHDOG},
    "host_devices": {"type": "list", "elements": "dict", "options": _HOST_DEVICE},
    "devices": {"type": "list", "elements": "dict", "options": _DEVICE},
    "agent": {"type": "bool"},
    "extra_args": {"type": "list", "elements": "str"},
    "labels": {"type": "dict"},
    "policy": {"type": "dict"},
    "restart_policy": {"type": "str", "choices": ["no", "on-failure", "always"]},
    "panic_action": {"type": "str", "choices": ["", "pause", "shutdown", "none"]},
    "reboot_action": {"type": "str", "choices": ["reset", "shutdown"]},
    "shutdown_timeout": {"type": "int"},
    "autostart": {"type": "bool"},
    "cpu_quota": {"type": "str"},
    "cpu_weight": {"type": "int"},
    "io_weight": {"type": "int"},
    "memory_max": {"type": "str"},
    "runner": {"type": "str", "choices": ["keep", "upgrade"], "default": "keep"},
    "wait_for": {"type": "list", "elements": "raw"},
    "timeout": {"type": "float", "default": 60},
    "stop_timeout": {"type": "float", "default": 60},
    "force": {"type": "bool", "default": False},
    "allow_restart": {"type": "bool", "default": False},
    "purge": {"type": "bool", "default": False},
}
