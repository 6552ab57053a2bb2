#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One QEMU virtual machine, declaratively."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maqet_vm
short_description: Make a QEMU virtual machine be what the task says
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Defines, starts, pauses, stops and removes a QEMU virtual machine on a Linux host, without libvirt.
  - Each running VM has a runner, a small process that owns QEMU's monitor and outlives the task. It needs the Python
    libraries C(qemu.qmp), C(psutil) and C(PyYAML), which the role C(maqet.qemu.hypervisor) installs.
  - A VM whose runner is gone goes on. Any task with O(state=present), O(state=running) or O(state=paused) gives it a
    runner again, which is the action C(adopt).
  - An option that is left out is not managed, and keeps the value that it has. A new VM takes the defaults.
  - As root, VMs belong to the system. Any other user has VMs of its own.
extends_documentation_fragment:
  - maqet.qemu.attributes
options:
  name:
    description:
      - Name of the VM, of at most 63 letters, digits, C(_), C(.) and C(-).
    type: str
    required: true
  state:
    description:
      - V(present) - the VM is defined; whether it runs is left as it is.
      - V(running) - it is defined and its guest runs.
      - V(paused) - it is defined and its QEMU runs, but the guest does not.
      - V(stopped) - it is defined and not running.
      - V(restarted) - it is stopped, if it runs, and started. Always a change.
      - V(absent) - it is not defined. A running VM is stopped first.
      - The task returns when the state is reached. A stop has the guest asked by its ACPI power button, see
        O(stop_timeout) and O(force).
    type: str
    choices: [present, running, stopped, paused, restarted, absent]
    default: present
  memory:
    description:
      - Memory of the guest, as a number of MiB or with a unit, such as V(2G). V(512M) for a new VM.
    type: str
  cpus:
    description:
      - Number of virtual CPUs. V(1) for a new VM.
    type: int
  cpu_model:
    description:
      - CPU model, optionally with features, as QEMU's C(-cpu) takes it. For a new VM the host's own under KVM, else
        V(max).
    type: str
  machine:
    description:
      - Machine type, see C(qemu-system-x86_64 -machine help). For a new VM V(q35) or, on aarch64, V(virt).
    type: str
  arch:
    description:
      - Architecture of the guest. For a new VM that of the host.
    type: str
    choices: [x86_64, aarch64]
  accel:
    description:
      - V(auto) uses KVM where a small guest has been seen to run under it, and V(tcg) elsewhere. V(auto) for a new VM.
    type: str
    choices: [auto, kvm, tcg]
  kernel:
    description:
      - Path of a Linux kernel on the host, to boot directly. The runner opens it, so it may be root's alone.
    type: path
  initrd:
    description:
      - Path of an initial RAM disk for O(kernel).
    type: path
  cmdline:
    description:
      - Command line for O(kernel).
    type: str
  disks:
    description:
      - All disks of the VM, in their order. V([]) takes all away.
      - A disk that is taken away keeps its file.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the disk. V(disk0), V(disk1), ... by default.
        type: str
      size:
        description:
          - Size of an image that is to be made in the VM's own folder, such as V(10G). It grows if the size grows.
        type: str
      base:
        description:
          - Path of an image on which the disk is an overlay. The base is never written. As root, one that only root can
            read is opened for QEMU, with what is below it as long as root alone can write the images.
        type: path
      path:
        description:
          - Path of an image or block device that exists. It is used and never deleted. The runner opens it, so it may
            be root's alone, and keeps its owner.
        type: path
      format:
        description:
          - Format of a new image, V(qcow2) by default. For one that exists, the format that it must have.
          - It is detected once, when the disk is defined, and never guessed when it is used. Give it for a raw image
            that a guest has written to, since what the guest wrote decides what is detected.
        type: str
        choices: [qcow2, raw]
      interface:
        description: How the guest sees it. V(virtio) by default.
        type: str
        choices: [virtio, scsi, sata, ide]
      readonly:
        description: Whether the guest can write it. It can by default.
        type: bool
  networks:
    description:
      - All network cards of the VM. V([]), or one of type V(none), for no card, which is what a new VM has.
    type: list
    elements: dict
    suboptions:
      type:
        description: V(user) is QEMU's own network, which needs no privilege.
        type: str
        choices: [user, none]
        required: true
      model:
        description: Card that the guest sees. V(virtio-net-pci) by default.
        type: str
      mac:
        description: MAC address. By default one that is derived from the VM's UUID and stays.
        type: str
      hostfwd:
        description: Ports of the host that lead into the guest.
        type: list
        elements: dict
        suboptions:
          protocol:
            description: Protocol. V(tcp) by default.
            type: str
            choices: [tcp, udp]
          host_address:
            description: Address to listen on. V(127.0.0.1) by default.
            type: str
          host_port:
            description:
              - Port to listen on. Not below the host's sysctl C(net.ipv4.ip_unprivileged_port_start), mostly 1024; this
                holds for root's VMs too, since their QEMU is not root.
            type: int
            required: true
          guest_address:
            description: Address in the guest's network. The first one that it gets by default.
            type: str
          guest_port:
            description: Port in the guest.
            type: int
            required: true
  cloud_init:
    description:
      - What cloud-init finds in the guest when it boots, on a small read-only disk with the label C(cidata) (its data
        source NoCloud). V({}) takes the disk away, which is also what a new VM has.
      - The dictionary is managed as a whole. A change needs a restart of a running VM.
      - It is C(seed.iso) in the VM's folder, for which the host needs the package C(xorriso), which the role
        C(maqet.qemu.hypervisor) installs. It is made anew at a start if the definition asks for another one, and goes
        with the definition.
      - Passwords and keys in it are stored in the VM's folder, which is closed to other users. No result, diff or log
        shows them; of each part there is a digest.
      - See the guide on cloud-init in the documentation of this collection.
    type: dict
    suboptions:
      user_data:
        description:
          - What the guest is to become. A dictionary is a C(#cloud-config). A text is taken as it is, and begins with a
            header that cloud-init knows, such as C(#cloud-config), C(#!/bin/sh) or C(#include), or is a jinja template
            or a MIME message.
          - Of a dictionary, keys that look misspelt are refused, and those that belong elsewhere.
        type: raw
      meta_data:
        description:
          - Facts of the instance, as a dictionary or as YAML. C(instance-id) is added, see O(cloud_init.instance_id),
            and C(local-hostname) with the VM's name, unless they are there.
        type: raw
      network_config:
        description:
          - Configuration of the network, as a dictionary or as YAML, in version 1 or 2. By default cloud-init asks for
            an address by DHCP.
        type: raw
      vendor_data:
        description: Like O(cloud_init.user_data), which has precedence over it.
        type: raw
      instance_id:
        description:
          - Name of the instance. cloud-init does most of its work once for each. The VM's UUID by default.
        type: str
      rerun:
        description:
          - Whether cloud-init is to do its work again when the data have changed. V(false) by default, where only what
            it does at each boot is done with the new data.
          - With V(true) the instance gets a name that is made of the VM's UUID and the data.
        type: bool
  serial:
    description:
      - V(file) writes the first serial port to C(serial.log) in the VM's folder, which is the default; V(none) has no
        port.
    type: str
    choices: [file, none]
  display:
    description:
      - V(none), the default, has no graphics; V(headless) has a graphics card but no window, for screenshots; V(vnc)
        serves it on a unix socket beside the VM's other sockets.
    type: str
    choices: [none, headless, vnc]
  agent:
    description:
      - Whether the VM has a port for the QEMU guest agent, through which M(maqet.qemu.maqet_guest) asks the guest.
        V(false) for a new VM.
      - The agent itself is the guest's own affair. Linux distributions call its package C(qemu-guest-agent).
    type: bool
  extra_args:
    description:
      - Further arguments for QEMU, as a list of words. Those that would break what the collection promises are refused.
      - QEMU's folder is the VM's output folder.
      - As root, QEMU has a user of its own, RV(vm.qemu_uid). A file that is named here must be open to that user, such
        as by C(setfacl -m u:UID:r FILE), or be readable to everybody.
    type: list
    elements: str
  labels:
    description:
      - Words of your own about the VM. QEMU does not see them.
    type: dict
  policy:
    description:
      - What is allowed on this VM less than the host's policy file allows. It can only tighten, never widen. V({})
        takes it back.
      - It holds for every QMP command to this VM, and for every command to its guest agent, from the next one on,
        without a restart, also for those that this module sends itself, such as C(system_powerdown).
      - Its keys are those of a section of the host's policy file. C(consent), where V(false) means that a task's
        C(allow_dangerous) does not count. C(roots), C(net) with C(listen) and C(connect), and C(devices), where of
        what the host allows only what is named here remains, beside the VM's own folders. C(classes) and C(commands),
        with V(consent) or V(deny) for a class or a command, and for a command also the values that its C(arguments)
        may have.
      - What could only widen, such as V(allow) or C(roles), is refused with C(invalid_option).
    type: dict
  restart_policy:
    description:
      - What the runner does when the VM has ended. V(no), for a new VM, leaves it stopped. V(on-failure) starts it
        again if neither its guest nor anybody on the host has asked for the end - a crash of QEMU, a signal that kills
        it, a panic of the guest. V(always) also when the guest has powered itself off.
      - A VM that somebody on the host has ended stays stopped - this module, C(quit), the power button, or SIGTERM to
        QEMU.
      - The first pause before it is started again is 1 second; each further one is twice as long, up to 60 seconds.
        After 10 starts in a row the runner gives up. A row ends when the VM has run for 60 seconds.
    type: str
    choices: ['no', on-failure, always]
  panic_action:
    description:
      - What QEMU does when the guest's kernel panics. V(pause) keeps it for a look, V(shutdown) ends it, V(none) lets
        it be.
      - The VM gets a device by which the guest can tell, C(pvpanic). An empty string takes it back.
    type: str
    choices: ['', pause, shutdown, none]
  reboot_action:
    description:
      - What QEMU does when the guest resets. V(reset), for a new VM, or V(shutdown), which ends it.
    type: str
    choices: [reset, shutdown]
  shutdown_timeout:
    description:
      - Seconds that the guest has to power off when the host goes down, or when its unit is stopped by C(systemctl
        stop). QEMU is ended after that. V(60) for a new VM.
    type: int
  autostart:
    description:
      - Whether the VM is started when the host boots. V(false) for a new VM.
      - Needs systemd; as another user than root also a user who lingers, see C(loginctl enable-linger). The same holds
        for O(cpu_quota), O(cpu_weight), O(io_weight) and O(memory_max).
    type: bool
  cpu_quota:
    description:
      - The most that QEMU and the runner may take of the host's processors, in percent of one, such as V(150%). An
        empty string takes it back. No limit for a new VM.
    type: str
  cpu_weight:
    description:
      - Share in the host's processors where they are scarce, from V(1) to V(10000), in relation to other VMs. V(100)
        for a new VM.
    type: int
  io_weight:
    description:
      - Share in the host's disks where they are busy, like O(cpu_weight). V(100) for a new VM.
      - The host's I/O scheduler has to know about weights, such as C(bfq). Users other than root mostly may not set it.
    type: int
  memory_max:
    description:
      - The most that QEMU and the runner together may have of the host's memory, as a number of MiB or with a unit. An
        empty string takes it back. No limit for a new VM.
      - It is refused if it is below O(memory) and what QEMU needs beside it, which the message says. A guest whose
        processor is emulated needs more, for the code that QEMU makes of the guest's, at most V(1G).
      - A VM that needs more is ended by the kernel, see O(restart_policy).
    type: str
  runner:
    description:
      - V(keep) leaves the runner of a running VM as it is, also if it is of an older version of this collection. It
        still works.
      - V(upgrade) replaces it by the one that this version brings. The guest does not notice, and no command is lost.
        See RV(vm.runner).
    type: str
    choices: [keep, upgrade]
    default: keep
  wait_for:
    description:
      - What to wait for, one after another, at most O(timeout) seconds in all.
      - Each is V(running), V(exit), a dictionary C(serial) with a regular expression, or a dictionary C(event) with
        the name of a QMP event. Serial output and events count from the start of this QEMU, so that a task that is run
        again finds what it found before.
    type: list
    elements: raw
  timeout:
    description:
      - Seconds that another task on the same VM is waited for, that a start may take, and that O(wait_for) may take.
    type: float
    default: 60
  stop_timeout:
    description:
      - Seconds that the guest has to power off after its ACPI power button was pressed. V(0) does not press it.
    type: float
    default: 60
  force:
    description:
      - Consent to end QEMU when the guest has not powered off in O(stop_timeout). First by the monitor's C(quit), and
        if that fails by C(SIGKILL). Without it the task fails and the VM goes on.
    type: bool
    default: false
  allow_restart:
    description:
      - Consent to restart a running VM for changes that need it. Without it the task fails with C(restart_required).
    type: bool
    default: false
  purge:
    description:
      - With O(state=absent), also delete the images in the VM's own folder, and its output folder. Other files are
        never deleted, nor is the audit log.
    type: bool
    default: false
seealso:
  - module: maqet.qemu.maqet_qmp
  - module: maqet.qemu.maqet_guest
  - module: maqet.qemu.maqet_vm_info
"""

EXAMPLES = r"""
- name: A VM with a disk of its own and ssh on port 2222
  maqet.qemu.maqet_vm:
    name: web1
    state: running
    memory: 2G
    cpus: 2
    disks:
      - name: root
        base: /srv/images/debian-12.qcow2
        size: 20G
    networks:
      - type: user
        hostfwd:
          - host_port: 2222
            guest_port: 22

- name: A VM made of a cloud image, with a user and a package
  maqet.qemu.maqet_vm:
    name: web2
    state: running
    memory: 1G
    disks:
      - name: root
        base: /srv/images/debian-12-genericcloud-amd64.qcow2
        size: 20G
    networks:
      - type: user
    cloud_init:
      user_data:
        users:
          - name: admin
            ssh_authorized_keys: ["{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"]
            sudo: ALL=(ALL) NOPASSWD:ALL
            shell: /bin/bash
        packages: [nginx]

- name: Boot a kernel and wait until its userland speaks
  maqet.qemu.maqet_vm:
    name: demo
    state: running
    kernel: /srv/demo/vmlinuz
    initrd: /srv/demo/initramfs
    cmdline: console=ttyS0 quiet
    wait_for:
      - serial: guest ready

- name: Give it more memory, and a restart if it needs one
  maqet.qemu.maqet_vm:
    name: web1
    memory: 4G
    allow_restart: true

- name: Nobody ends it by QMP, and consent does not count on it
  maqet.qemu.maqet_vm:
    name: web1
    policy:
      consent: false
      commands:
        quit: deny

- name: It comes back by itself after a crash or a panic
  maqet.qemu.maqet_vm:
    name: web1
    state: running
    restart_policy: on-failure
    panic_action: shutdown
    allow_restart: true

- name: It comes back with the host, and leaves room for others
  maqet.qemu.maqet_vm:
    name: web1
    memory: 4G
    autostart: true
    cpu_quota: 150%
    memory_max: 4608M
    shutdown_timeout: 120

- name: Have it looked after by the runner of this version of the collection
  maqet.qemu.maqet_vm:
    name: web1
    runner: upgrade

- name: Stop it, and do not take no for an answer
  maqet.qemu.maqet_vm:
    name: web1
    state: stopped
    stop_timeout: 30
    force: true

- name: Remove it and its disks
  maqet.qemu.maqet_vm:
    name: web1
    state: absent
    purge: true
"""

RETURN = r"""
vm:
  description: Facts of the VM after the task; in check mode, as it is now.
  type: dict
  returned: when the VM could be looked at
  contains:
    name: {description: Its name., type: str, returned: always}
    status: {description: 'V(absent), V(stopped), or what QEMU says, such as V(running) or V(paused).', type: str,
      returned: always}
    uuid: {description: Its UUID., type: str, returned: always}
    definition:
      description:
        - The options that are managed. Memory in MiB and sizes in bytes. Of O(cloud_init) there are digests.
      type: dict
      returned: always
    disks: {description: The image of each disk., type: dict, returned: always}
    qemu_pid: {description: Process of QEMU., type: int, returned: when it runs}
    qemu_uid: {description: User as which QEMU runs., type: int, returned: when it runs}
    runner_pid: {description: Process of the runner., type: int, returned: when it runs}
    runner:
      description: The runner. C(current) is whether it is the one that this version of the collection would start.
      type: dict
      returned: when there is one
      sample: {"pid": 4711, "digest": "0f3c2a9b1d4e5f60", "protocol": 2, "python": "/usr/bin/python3",
        "python_version": "3.11.2", "current": true}
    restarts: {description: How often in a row the runner has started the VM again., type: int, returned: always}
    qemu_version: {description: Version of the running QEMU., type: str, returned: when it runs}
    qemu_binary: {description: Program of the running QEMU., type: str, returned: when it runs}
    accel: {description: The accelerator in use., type: str, returned: when it runs}
    uptime: {description: Seconds since QEMU started., type: float, returned: when it runs}
    sockets: {description: Sockets of the runner and of the monitor for direct mode., type: dict, returned: always}
    home: {description: The VM's folder., type: str, returned: always}
    output: {description: Folder for files that QEMU writes at a caller's wish., type: str, returned: always}
    serial_log: {description: What the first serial port said since the last start., type: str, returned: always}
    audit_log: {description: The VM's audit log., type: str, returned: always}
    last_exit:
      description:
        - How its last QEMU ended, of which C(reason) is a word, and C(detail) a sentence.
        - C(reason) is QEMU's own word where it said one, such as V(guest-shutdown), V(guest-reset), V(guest-panic),
          V(host-qmp-quit) or V(host-signal); else V(host-powerdown) (the guest obeyed its power button), V(signal),
          V(qemu-error), V(host-down) or V(unknown).
        - C(status) is its exit status, negative for a signal; C(words) what it said last; C(gave_up) is there if
          O(restart_policy) has given up.
      type: dict
      returned: when one has
      sample: {"reason": "signal", "detail": "QEMU was ended by signal 9 (SIGKILL)", "status": -9, "signal": 9,
        "time": 1764000000.0, "uptime": 17.2, "restarts": 0, "qemu": {"pid": 4711, "start": 123456}}
actions:
  description: What the task did, or in check mode would do, each with its C(impact) - V(live), V(restart) or
    V(recreate).
  type: list
  elements: dict
  returned: always
  sample: [{"action": "define", "impact": "live", "options": ["memory"]}, {"action": "start", "impact": "live"}]
stop_steps:
  description: The commands and signals that it took to stop the VM, in their order.
  type: list
  elements: str
  returned: when the VM was stopped
  sample: [system_powerdown]
kept:
  description: Disk images that O(state=absent) left on the host for want of O(purge).
  type: list
  elements: str
  returned: when there are any
events:
  description: QMP events that were seen while waiting.
  type: list
  elements: dict
  returned: when O(wait_for) asked for events
audit:
  description: Audit records of the commands that the task sent.
  type: list
  elements: dict
  returned: always
error_code:
  description:
    - A stable word for what went wrong, one of V(invalid_option), V(vm_not_found), V(vm_not_running), V(vm_busy),
      V(vm_exited), V(restart_required), V(stop_timeout), V(wait_timeout), V(qemu_not_found), V(qemu_failed),
      V(libraries_missing), V(runner_failed), V(runner_unreachable), V(monitor_unreachable), V(qmp_timeout),
      V(qmp_error), V(policy_denied), V(audit_failed), V(qemu_gone), V(qemu_unidentified), V(qemu_orphaned),
      V(state_unsafe), V(command_failed), V(host_error), V(no_identity).
  type: str
  returned: on failure
"""

import contextlib
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.intent import normalise
from ansible_collections.maqet.qemu.plugins.module_utils.definition.names import check_vm_name
from ansible_collections.maqet.qemu.plugins.module_utils.definition.seed import shown
from ansible_collections.maqet.qemu.plugins.module_utils.definition.waits import wait_for
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option
from ansible_collections.maqet.qemu.plugins.module_utils.guard.policy import tighten
from ansible_collections.maqet.qemu.plugins.module_utils.host.locks import locked
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import VmPaths, layout
from ansible_collections.maqet.qemu.plugins.module_utils.host.systemd import advice
from ansible_collections.maqet.qemu.plugins.module_utils.vm.control import Control
from ansible_collections.maqet.qemu.plugins.module_utils.vm.ensure import Desired, Ensure
from ansible_collections.maqet.qemu.plugins.module_utils.vm.facts import before_after, facts
from ansible_collections.maqet.qemu.plugins.module_utils.vm.stop import Patience

_DISK = {
    "name": {"type": "str"},
    "size": {"type": "str"},
    "base": {"type": "path"},
    "path": {"type": "path"},
    "format": {"type": "str", "choices": ["qcow2", "raw"]},
    "interface": {"type": "str", "choices": ["virtio", "scsi", "sata", "ide"]},
    "readonly": {"type": "bool"},
}
_FORWARD = {
    "protocol": {"type": "str", "choices": ["tcp", "udp"]},
    "host_address": {"type": "str"},
    "host_port": {"type": "int", "required": True},
    "guest_address": {"type": "str"},
    "guest_port": {"type": "int", "required": True},
}
_NETWORK = {
    "type": {"type": "str", "choices": ["user", "none"], "required": True},
    "model": {"type": "str"},
    "mac": {"type": "str"},
    "hostfwd": {"type": "list", "elements": "dict", "options": _FORWARD},
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
    "cpus": {"type": "int"},
    "cpu_model": {"type": "str"},
    "machine": {"type": "str"},
    "arch": {"type": "str", "choices": ["x86_64", "aarch64"]},
    "accel": {"type": "str", "choices": ["auto", "kvm", "tcg"]},
    "kernel": {"type": "path"},
    "initrd": {"type": "path"},
    "cmdline": {"type": "str"},
    "disks": {"type": "list", "elements": "dict", "options": _DISK},
    "networks": {"type": "list", "elements": "dict", "options": _NETWORK},
    # Not for syslog; Task.conceal says later what is shown of it.
    "cloud_init": {"type": "dict", "options": _CLOUD_INIT, "no_log": True},
    "serial": {"type": "str", "choices": ["file", "none"]},
    "display": {"type": "str", "choices": ["none", "headless", "vnc"]},
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


def desired(params: dict[str, t.Any]) -> Desired:
    """The task's options, checked without a look at the host."""
    for option in ("timeout", "stop_timeout"):
        if params[option] < 0:
            raise invalid_option(option, params[option], "is no time to wait", "Give seconds, 0 or more")
    given = normalise(params)
    if "policy" in given:
        tighten("vm", given["policy"])
    return Desired(
        name=check_vm_name(params["name"]),
        state=params["state"],
        given=given,
        patience=Patience(params["stop_timeout"], params["force"], params["timeout"]),
        allow_restart=params["allow_restart"],
        purge=params["purge"],
        upgrade=params["runner"] == "upgrade",
        waits=wait_for(params["wait_for"]),
    )


def _lock(task: door.Task, paths: VmPaths, wanted: Desired) -> t.ContextManager[None]:
    """Held by one task at a time; check mode changes nothing, not even a lock."""
    if task.check:
        return contextlib.nullcontext()
    return locked(paths.lock, wanted.patience.timeout, task.who, f"VM {wanted.name}")


def ensure(task: door.Task) -> dict[str, t.Any]:
    """Make the VM what the task says."""
    if task.params["cloud_init"] is not None:
        task.conceal({"cloud_init": shown(task.params["cloud_init"])}, ())
    wanted = desired(task.params)
    where = layout()
    paths = where.vm(wanted.name)
    control = Control(where, paths, f"maqet_vm: state={wanted.state}", task.context)
    with _lock(task, paths, wanted):
        work = Ensure(where, wanted, control)
        actions = work.decide(task.check)
        result: dict[str, t.Any] = {
            "changed": bool(actions),
            "actions": [action.as_dict() for action in actions],
            "diff": before_after(work.actual, wanted.state, actions, work.work.difference),
            "audit": control.audit,
        }
        if wanted.state == "absent" and not wanted.purge and work.owned():
            result["kept"] = work.owned()
        if work.actual.qemu is not None and work.actual.definition is None:
            task.warn(f"QEMU {work.actual.qemu.pid} runs as VM {wanted.name}, whose definition is gone: it is ended.")
        if not task.check:
            try:
                work.perform()
            except (MaqetError, OSError) as failure:
                error = door.as_maqet(failure)
                changed = work.changed or "cont" in error.details.get("stop_steps", ())
                done = {"vm": facts(paths, work.actual), "audit": control.audit, "changed": changed}
                error.details = {**done, **error.details}
                raise error from None
            hint = advice(where) if "start" in work.work.done else None
            if hint:
                task.warn(hint)
            if "adopt" in work.work.done:
                task.warn(f"The runner of VM {wanted.name} was gone, its QEMU not. A new one has taken it over.")
            if work.work.stop_steps:
                result["stop_steps"] = work.work.stop_steps
            if work.work.events:
                result["events"] = work.work.events
        return {"vm": facts(paths, work.actual), **result}


def main() -> None:
    """The module."""
    door.run(SPEC, ensure)


if __name__ == "__main__":
    main()
