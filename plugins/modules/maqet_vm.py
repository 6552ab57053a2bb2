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
  hugepages:
    description:
      - Size of the host's huge pages that are to be the guest's memory, such as V(2M) or V(1G). O(memory) must be a
        multiple of it. An empty string takes it back. A new VM has the host's ordinary pages.
      - The host must have so many of them free when the VM starts, see
        C(/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages). No file system has to be mounted.
    type: str
  balloon:
    description:
      - Whether the guest has a device through which the host takes memory back for the time being (C(virtio-balloon)).
        V(false) for a new VM.
      - A guest that is about to run out of memory gets it back by itself, and what it frees goes back to the host
        without being asked for, except with O(hugepages).
    type: bool
  balloon_target:
    description:
      - Memory that the guest is to have of O(memory) while others need the rest, as a number of MiB or with a unit.
        Needs O(balloon). An empty string takes it back.
    type: str
  cpus:
    description:
      - Number of virtual CPUs with which the guest starts. V(1) for a new VM.
    type: int
  cpus_max:
    description:
      - Number of virtual CPUs up to which more can be plugged into the running guest. V(0) takes it back. For a new VM
        the same as O(cpus). Not for aarch64 guests.
    type: int
  cpu_topology:
    description:
      - How the virtual CPUs are arranged. Their product must be O(cpus_max), or O(cpus) where that is not set.
        C(sockets) may be left out, and follows from the rest; of the others, one that is left out is 1.
      - V({}), for a new VM, leaves it to QEMU.
    type: dict
    suboptions:
      sockets: {description: Number of sockets., type: int}
      dies: {description: Number of dies in a socket. x86_64 guests only., type: int}
      cores: {description: 'Number of cores in a die, or in a socket.', type: int}
      threads:
        description: Number of threads in a core. QEMU's models of AMD processors show them only with the feature
          C(topoext), see O(cpu_features).
        type: int
  cpu_model:
    description:
      - CPU model, optionally with features, as QEMU's C(-cpu) takes it. For a new VM the host's own under KVM, else
        V(max).
      - On emulated aarch64 that default has C(pauth-impdef), QEMU's own algorithm for signed pointers, unless
        O(cpu_features) names one of C(pauth) and its like. With the architecture's a guest boots three times as long.
    type: str
  cpu_features:
    description:
      - Features that O(cpu_model) is to have (V(true)) or not (V(false)), by the names that QEMU gives them, such as
        C(vmx); also other properties of the model, with a number or a word. V({}) takes them back.
    type: dict
  machine:
    description:
      - Machine type, see C(qemu-system-x86_64 -machine help). For a new VM V(q35) or, on aarch64, V(virt).
    type: str
  arch:
    description:
      - Architecture of the guest. For a new VM that of the host. Another one is emulated, which needs its
        C(qemu-system-x86_64) or C(qemu-system-aarch64).
    type: str
    choices: [x86_64, aarch64]
  accel:
    description:
      - V(auto) uses KVM where a small guest has been seen to run under it, and V(tcg) elsewhere. V(auto) for a new VM.
    type: str
    choices: [auto, kvm, tcg]
  uuid:
    description:
      - UUID of the VM, which the guest sees as that of its machine. By default one by chance.
      - It is decided when the VM is defined, and stays. Another one for a VM that exists is refused.
    type: str
  smbios:
    description:
      - What the guest reads of its machine (C(dmidecode)). V({}), for a new VM, leaves QEMU's own words.
    type: dict
    suboptions:
      manufacturer: {description: Who made the machine., type: str}
      product: {description: Its product name., type: str}
      version: {description: Its version., type: str}
      serial: {description: Its serial number., type: str}
      sku: {description: Its SKU number., type: str}
      family: {description: Its family., type: str}
      oem_strings:
        description:
          - Strings for whoever in the guest looks for them, such as C(io.systemd.credential:) for systemd. They are
            arguments of QEMU, which users of the host can see. So they are no place for secrets.
        type: list
        elements: str
  clock:
    description:
      - The guest's real-time clock. V({}), for a new VM, is the host's time in UTC.
    type: dict
    suboptions:
      base:
        description: V(utc), V(localtime) (for Windows), or a moment in UTC, such as V(2030-01-31T12:00:00), at which
          every start of the guest begins.
        type: str
      source:
        description: V(host) follows the host's clock, V(rt) its time since boot, V(vm) stands still while the guest
          does. QEMU's default is V(host).
        type: str
        choices: [host, rt, vm]
      driftfix:
        description: V(slew) sends a guest the ticks that it has missed (old Windows). x86_64 guests only.
        type: str
        choices: [none, slew]
  boot:
    description:
      - What the guest's firmware boots from. V({}), for a new VM, means the disks in their order.
    type: dict
    suboptions:
      order:
        description:
          - What is tried, first to last - names of O(disks), V(nic0) and so on for single cards of O(networks), or
            V(networks) for all of them. Disks that are not named come after those that are.
          - An empty disk is passed over. So an order of the disk and then its installation medium installs once, and
            boots what was installed from then on.
        type: list
        elements: str
      menu:
        description: Whether the firmware offers a menu.
        type: bool
  firmware:
    description:
      - V(bios), for a new VM on x86_64; V(uefi), for a new VM on aarch64 without O(kernel); or V(uefi-secure), which is
        UEFI with Secure Boot, on x86_64 only on the machine V(q35). An empty string takes it back.
      - Or a dictionary of C(type) (V(bios) or V(uefi)), C(secure_boot) (a boolean), C(code) (path of the firmware's
        code) and C(vars) (path of the variables with which the VM begins).
      - Without C(code) it is what the host has, by the descriptors in C(/usr/share/qemu/firmware) and
        C(/etc/qemu/firmware), which come with the packages C(ovmf) or C(edk2-ovmf), and for aarch64
        C(qemu-efi-aarch64) or C(edk2-aarch64).
      - With UEFI the VM has variables of its own in the folder C(nvram) of its home. They stay over restarts and new
        versions of the firmware, go only with O(purge), and begin anew when this option changes.
    type: raw
  tpm:
    description:
      - Whether the VM has a TPM. V(false) for a new VM. Needs the program C(swtpm) on the host.
      - Or a dictionary of C(version) (V(2.0), the default, or V(1.2)) and C(model) (V(tpm-crb), the default on x86_64,
        or V(tpm-tis)).
      - What the TPM keeps is in the folder C(tpm) of the VM's home, which QEMU's user alone can read. It goes only with
        O(purge).
    type: raw
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
        description:
          - Name of the disk. V(disk0), V(disk1), ... by default, by its place in the list.
          - A disk is told from others by its name alone. Without names of your own, the first of two disks cannot be
            taken away - the second would become V(disk0), and be given the image of the first.
        type: str
      type:
        description:
          - V(disk) by default. V(cdrom) is a drive whose medium is O(disks[].path), or which is empty.
        type: str
        choices: [disk, cdrom]
      size:
        description:
          - Size of an image that is to be made in the VM's own folder, such as V(10G). It grows if the size grows.
          - With O(disks[].base) or O(disks[].clone) the image is made as large as this, at least as large as what it
            is made of.
          - A size below the present one is refused, since what is beyond it is lost. With O(force), and while the VM
            does not run, the image is shrunk. Shrink the guest's file systems and partitions before.
        type: str
      base:
        description:
          - Path of an image on which the disk is an overlay. The base is never written. As root, one that only root can
            read is opened for QEMU, with what is below it as long as root alone can write the images.
        type: path
      clone:
        description:
          - Path of an image, or a block device, of which the disk is a full copy in the VM's own folder. It is
            converted if its format is not O(disks[].format), and holds what is below it too if it is an overlay.
          - It is needed until the copy has been made, which happens once. A changed image is not copied again.
          - Blocks are shared where the file system can (reflink), and what is empty takes no room.
          - An image that has part of its data in other files is refused if anybody but root and the task's user can
            write it.
          - How far the copy is can be read in C(disks.log) in the VM's folder.
        type: path
      clone_format:
        description:
          - Format of O(disks[].clone). It is detected by default. Give it for a raw image that a guest has written to,
            since what the guest wrote decides what is detected, and for V(vpc), which cannot always be detected.
        type: str
        choices: [qcow2, raw, vmdk, vdi, vhdx, vpc, qcow, qed, parallels, dmg, bochs, cloop]
      checksum:
        description:
          - Checksum of the file O(disks[].clone), C(sha256:) and 64 hexadecimal digits. If the file has another one
            the task fails, and nothing is made of it.
        type: str
      path:
        description:
          - Path of an image or block device that exists. It is used and never deleted. The runner opens it, so it may
            be root's alone, and keeps its owner.
          - A disk that another VM writes cannot be used while that VM runs. The base of another VM's disk can only be
            used with O(disks[].readonly), whether that VM runs or not.
        type: path
      format:
        description:
          - Format of a new image, V(qcow2) by default. For one that exists, the format that it must have.
          - It is detected once, when the disk is defined, and never guessed when it is used. Give it for a raw image
            that a guest has written to, since what the guest wrote decides what is detected.
        type: str
        choices: [qcow2, raw]
      preallocation:
        description:
          - What a new image, or what is added to one that grows, takes of the host's disk at once. V(off), the default,
            nothing; V(metadata) the tables of a qcow2 image; V(falloc) all of it; V(full) all of it, by writing zeros.
          - It fails before anything is written if there is not enough room.
        type: str
        choices: ['off', metadata, falloc, full]
      interface:
        description:
          - How the guest sees it. V(virtio) by default, V(sata) for a cdrom, which can also be V(scsi) or V(ide).
        type: str
        choices: [virtio, scsi, sata, ide, nvme, usb]
      readonly:
        description: Whether the guest can only read it. It can write by default; never to a cdrom.
        type: bool
      cache:
        description:
          - How writes of the guest reach the disk, in the words of QEMU's C(-drive cache=). V(writeback), QEMU's
            default, uses the host's page cache and obeys the guest's flushes; V(none) goes past the page cache;
            V(writethrough) and V(directsync) do the same and have each write reach the disk before it is done;
            V(unsafe) obeys no flush, and loses data with the power.
        type: str
        choices: [none, writeback, writethrough, directsync, unsafe]
      aio:
        description:
          - How QEMU reads and writes the file, V(threads) by default. V(native) is Linux AIO and needs O(disks[].cache)
            V(none) or V(directsync). V(io_uring) needs a kernel and a QEMU that have it.
        type: str
        choices: [threads, native, io_uring]
      discard:
        description:
          - What becomes of blocks that the guest says it no longer needs (trim). V(unmap) gives them back to the host;
            V(ignore), the default, keeps them.
        type: str
        choices: [unmap, ignore]
      detect_zeroes:
        description:
          - Whether zeros that the guest writes are recognised. V(on) has them written in the cheapest way, V(unmap)
            gives their blocks back and needs O(disks[].discard=unmap). V(off) by default.
        type: str
        choices: ['off', 'on', unmap]
      serial:
        description: Serial number that the guest sees, as in C(/dev/disk/by-id). The disk's name by default.
        type: str
      bootindex:
        description:
          - Place in the order in which the guest's firmware tries to boot, the lowest first, from V(0). With O(kernel),
            which has V(0), from V(1).
          - Disks without one come after those that have one, in the order of the list.
        type: int
      throttle:
        description:
          - Limits of what the guest may read and write in a second. C(_max) is what it may do for a burst, of
            C(_max_length) seconds. Both ways together, or each way of its own.
        type: dict
        suboptions:
          iops:
            description: Operations per second.
            type: int
          iops_max:
            description: The same in a burst.
            type: int
          iops_max_length:
            description: Length of such a burst in seconds, V(1) by default.
            type: int
          iops_read:
            description: Operations read per second.
            type: int
          iops_read_max:
            description: The same in a burst.
            type: int
          iops_read_max_length:
            description: Length of such a burst in seconds, V(1) by default.
            type: int
          iops_write:
            description: Operations written per second.
            type: int
          iops_write_max:
            description: The same in a burst.
            type: int
          iops_write_max_length:
            description: Length of such a burst in seconds, V(1) by default.
            type: int
          bps:
            description: Bytes per second, such as V(50M).
            type: str
          bps_max:
            description: The same in a burst.
            type: str
          bps_max_length:
            description: Length of such a burst in seconds, V(1) by default.
            type: int
          bps_read:
            description: Bytes read per second, such as V(50M).
            type: str
          bps_read_max:
            description: The same in a burst.
            type: str
          bps_read_max_length:
            description: Length of such a burst in seconds, V(1) by default.
            type: int
          bps_write:
            description: Bytes written per second, such as V(50M).
            type: str
          bps_write_max:
            description: The same in a burst.
            type: str
          bps_write_max_length:
            description: Length of such a burst in seconds, V(1) by default.
            type: int
          iops_size:
            description: Size in bytes from which on an operation counts as several.
            type: int
  networks:
    description:
      - All network cards of the VM. V([]), or one of type V(none), for no card, which is what a new VM has.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - V(user) is QEMU's own network, which needs no privilege. Guests reach what the host reaches.
          - V(bridge) makes the guest a neighbour of whatever is on a bridge of the host. The runner makes a tap for it,
            RV(vm.networks), which goes when the VM ends. Needs root.
          - V(tap) uses a tap of the host that somebody else has made, and keeps.
          - V(macvtap) puts the guest beside the host on the network of one of its interfaces. The host itself and the
            guest do not see each other. Needs root.
          - V(socket) is a cable to another VM, see O(networks[].peer), or to whatever exchanges frames by UDP, see
            O(networks[].local).
          - V(none) is no network at all, and stands alone.
        type: str
        choices: [user, bridge, tap, macvtap, socket, none]
        required: true
      model:
        description: Card that the guest sees, V(virtio-net-pci), V(e1000), V(e1000e) or V(rtl8139). The first by
          default.
        type: str
      mac:
        description: MAC address. By default one that is derived from the VM's UUID and stays.
        type: str
      mtu:
        description:
          - Largest packet, in bytes. A card of O(networks[].model=virtio-net-pci) tells its guest, any other one has to
            be set up in the guest.
          - With V(bridge), V(tap) and V(macvtap) the host's interface has it too. A tap that is made takes its
            bridge's by default. A bridge whose own was never set takes the smallest of its ports'.
        type: int
      queues:
        description:
          - Pairs of queues, for V(bridge), V(tap) and V(macvtap), so that several of the guest's CPUs can send and
            receive at once. V(1) by default; not more than O(cpus) are of use.
        type: int
      bridge:
        description: With O(networks[].type=bridge), the name of the bridge, which is there already.
        type: str
      tap:
        description:
          - With O(networks[].type=tap), the name of the tap. Several O(networks[].queues) need one that was made with
            C(multi_queue).
          - As another user than root, one that was made for this user (C(ip tuntap add dev NAME mode tap user UID)).
        type: str
      link:
        description: With O(networks[].type=macvtap), the interface of the host.
        type: str
      mode:
        description:
          - With O(networks[].type=macvtap), how guests on the same O(networks[].link) see each other. V(bridge), by
            default, lets them; V(vepa) leaves it to the switch outside; V(private) does not.
        type: str
        choices: [bridge, vepa, private]
      peer:
        description:
          - With O(networks[].type=socket), the name of the VM at the other end, which has a network with this VM as its
            O(networks[].peer). Each of the two may be started first, and restarted.
          - Both belong to the same user, or both to the system. Nobody else can listen or send. Needs QEMU 7.2.
        type: str
      local:
        description:
          - With O(networks[].type=socket), IPv4 address and UDP port on the host at which frames arrive, such as
            V(127.0.0.1:5001).
          - Whoever can send to that port can send to the guest. Between VMs of one host O(networks[].peer) is better.
        type: str
      remote:
        description: With O(networks[].type=socket), address and port to which frames are sent.
        type: str
      restrict:
        description:
          - With O(networks[].type=user), whether the guest is cut off from the host and from what is behind it. What
            O(networks[].hostfwd) forwards gets in all the same. V(false) by default.
        type: bool
      network:
        description:
          - With O(networks[].type=user), the guest's IPv4 network, of 8 to 27 bits. V(10.0.2.0/24) by default. The host
            is its second address, the name server the third, and guests get those from the fifteenth on.
        type: str
      dns:
        description: With O(networks[].type=user), another address in O(networks[].network) for the name server.
        type: str
      domain:
        description: With O(networks[].type=user), the domain that guests are told.
        type: str
      hostname:
        description: With O(networks[].type=user), the name that the guest is told.
        type: str
      ipv6:
        description: With O(networks[].type=user), whether there is IPv6 too. V(true) by default.
        type: bool
      hostfwd:
        description: With O(networks[].type=user), ports of the host that lead into the guest.
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
  shares:
    description:
      - All folders of the host that the guest may mount, such as by C(mount -t 9p -o trans=virtio,version=9p2000.L TAG
        /mnt). V([]) takes all away.
      - As root, QEMU has a user of its own, RV(vm.qemu_uid), with whose rights it reads and writes there. Give it those
        that it needs, such as by C(setfacl -m u:UID:rwx FOLDER). It needs none to the folders above.
    type: list
    elements: dict
    suboptions:
      path:
        description: Path of the folder.
        type: path
        required: true
      tag:
        description: Name by which the guest mounts it. V(share0), V(share1), ... by default.
        type: str
      readonly:
        description: Whether the guest can write there. It can by default.
        type: bool
      type:
        description: How it is shared. V(9p) by default, which QEMU does itself.
        type: str
        choices: [9p]
      security_model:
        description:
          - With V(mapped-xattr), the default, owners and modes that the guest sets are kept in extended attributes, and
            on the host all belongs to QEMU's user. With V(none) they are set on the host as far as QEMU's user may.
        type: str
        choices: [mapped-xattr, none]
  serial:
    description:
      - V(file) writes the first serial port to C(serial.log) in the VM's folder, which is the default; V(none) has no
        port.
      - V(socket) also has a unix socket, C(serial) of RV(vm.sockets) where its user can speak to the guest, as by
        C(socat -,rawer UNIX-CONNECT:SOCKET). The log has all that the guest says, whether somebody is connected or
        not. One client at a time; one that does not read holds up what the guest writes.
    type: str
    choices: [file, socket, none]
  display:
    description:
      - V(none), the default, has no graphics; V(headless) has a graphics card but no window, for screenshots; V(vnc)
        serves it on a unix socket beside the VM's other sockets.
    type: str
    choices: [none, headless, vnc]
  vnc:
    description:
      - More about V(vnc) as O(display). V({}), for a new VM, is a unix socket without a password.
    type: dict
    suboptions:
      password:
        description:
          - Password that a client must know, of 1 to 8 characters, which is what the protocol has room for. It keeps
            out who stumbles in, not who listens - the rest of the session is not encrypted.
          - It is stored in C(definition.json), which only the VM's owner can read, and is never shown or logged.
        type: str
      port:
        description: Port of the host, from 5900, to listen on instead of the unix socket. Needs O(vnc.password).
        type: int
      address:
        description: Address to listen on with O(vnc.port). V(127.0.0.1) by default.
        type: str
  video:
    description:
      - Graphics card. For a new VM V(vga), or V(virtio) on aarch64. An empty string takes it back.
      - V(vga), V(qxl), V(cirrus) and V(bochs) are for x86_64 guests, V(ramfb) for aarch64 guests.
    type: str
    choices: ['', vga, virtio, qxl, cirrus, bochs, ramfb]
  rng:
    description:
      - Whether the guest gets random numbers from the host (C(virtio-rng)), which spares it a slow start of its own
        generator. V(false) for a new VM; nearly every guest is better off with V(true).
    type: bool
  watchdog:
    description:
      - A watchdog, and what QEMU does when the guest does not feed it. V({}), for a new VM, has none.
    type: dict
    suboptions:
      model:
        description: V(i6300esb) by default. V(ib700) is for x86_64 guests only.
        type: str
        choices: [i6300esb, ib700]
      action:
        description: V(reset) by default. V(shutdown) presses the power button, V(poweroff) ends QEMU.
        type: str
        choices: [reset, shutdown, poweroff, inject-nmi, pause, debug, none]
  host_devices:
    description:
      - Devices of the host that the guest has to itself. V([]), for a new VM, for none.
      - They must be there when the VM starts. No hardware was at hand to test this part with.
    type: list
    elements: dict
    suboptions:
      usb:
        description: A USB device, by its C(vendor) and C(product) or its C(bus) and C(addr), as C(lsusb) shows them.
          The runner opens it for QEMU. One that is pulled and plugged again needs a new start.
        type: dict
        suboptions:
          vendor: {description: 'Four hexadecimal digits, in quotes.', type: str}
          product: {description: 'Four hexadecimal digits, in quotes.', type: str}
          bus: {description: Number of the bus., type: int}
          addr: {description: Number of the device on its bus., type: int}
      pci:
        description: Address of a PCI device, such as V(0000:01:00.0). The host needs an IOMMU that is on. The device,
          and all others of its IOMMU group, must be bound to C(vfio-pci). As root, the group's node becomes QEMU's.
        type: str
  devices:
    description:
      - Devices for which there is no other option, in their order. V([]), for a new VM, for none.
      - Drivers and properties are checked against the QEMU of the host.
    type: list
    elements: dict
    suboptions:
      driver:
        description: Name of the driver, see C(qemu-system-x86_64 -device help).
        type: str
        required: true
      id:
        description: Name of the device. V(device0), V(device1), ... by default, by its place in the list.
        type: str
      properties:
        description: Its properties, see C(qemu-system-x86_64 -device DRIVER,help), as booleans, whole numbers or texts.
        type: dict
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
      - What to wait for, all of it side by side, after everything else and also if nothing else had to be done. The
        task fails with the first that does not come in time, and says what was seen of each.
      - Each is a word, or a dictionary of one word and what belongs to it. V(running), V(exit), V(agent), V(ip), V(ssh)
        and V(cloud_init) may stand alone; C(serial) takes a regular expression, C(event) the name of a QMP event,
        C(port) a number. In the place of that there may be a dictionary, with C(timeout) in seconds for this wait alone
        and beside it C(regex), C(name), C(port) and C(address), or C(family). See the examples.
      - V(running) - the guest runs. V(exit) - QEMU has ended.
      - C(serial), C(event) - a text on the serial port, or an event. Both count from the start of this QEMU, so that a
        task that is run again finds what it found before.
      - V(agent) - the guest agent answers. Needs O(agent=true).
      - V(ip) - the guest has an address that others can use, no loopback and none of the link alone, on one of the VM's
        cards. C(family) is V(any), V(ipv4) or V(ipv6). The agent tells it, or for a card on a bridge the host's table
        of neighbours and the leases of its DHCP servers (dnsmasq, systemd-networkd). See RV(vm.addresses).
      - C(port), V(ssh) - somebody in the guest listens on a TCP port, and for V(ssh) has sent a banner. C(port) is the
        guest's port, V(22) for V(ssh). It is called where C(hostfwd) of O(networks) leads to it, else at the address
        that V(ip) would find, or at the C(address) that is given, an IP address.
      - V(cloud_init) - cloud-init has finished. It says so on the guest's console, which must be its serial port. That
        its modules have succeeded is not said there.
    type: list
    elements: raw
  timeout:
    description:
      - Seconds that another task on the same VM is waited for, that a start may take, and that each of O(wait_for) may
        take that has no time-out of its own.
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
      - It is also the consent to shrink a disk, see O(disks[].size).
    type: bool
    default: false
  allow_restart:
    description:
      - Consent to restart a running VM for changes that need it. Without it the task fails with C(restart_required).
    type: bool
    default: false
  purge:
    description:
      - With O(state=absent), also delete the images in the VM's own folder, its UEFI variables, what its TPM keeps, and
        its output folder. Other files are never deleted, nor is the audit log.
    type: bool
    default: false
seealso:
  - module: maqet.qemu.maqet_device
  - module: maqet.qemu.maqet_snapshot
  - module: maqet.qemu.maqet_migrate
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

- name: UEFI with Secure Boot and a TPM, as Windows 11 wants it
  maqet.qemu.maqet_vm:
    name: win11
    firmware: uefi-secure
    tpm: true

- name: A folder of the host in the guest
  maqet.qemu.maqet_vm:
    name: web1
    shares:
      - path: /srv/www
        tag: www
        readonly: true

- name: An imported disk that is verified, a fast one for data, and an installation medium to boot first
  maqet.qemu.maqet_vm:
    name: legacy
    memory: 2G
    disks:
      - name: root
        clone: /srv/import/appliance.vmdk
        checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        size: 40G
      - name: data
        size: 100G
        cache: none
        aio: native
        discard: unmap
        throttle:
          iops: 2000
          bps: 200M
          bps_max: 400M
      - name: rescue
        type: cdrom
        path: /srv/iso/rescue.iso
        bootindex: 1

- name: On the bridge of the host, and by a cable to its database
  maqet.qemu.maqet_vm:
    name: web1
    networks:
      - type: bridge
        bridge: br0
        queues: 2
      - type: socket
        peer: db1
    allow_restart: true

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

- name: Four processors of two threads each, room for as many again, and memory that is lent back
  maqet.qemu.maqet_vm:
    name: db1
    memory: 8G
    balloon: true
    cpus: 8
    cpus_max: 16
    cpu_topology:
      cores: 4
      threads: 2
    cpu_features:
      topoext: true
    rng: true
    watchdog:
      model: i6300esb
      action: reset

- name: Look at it over the network, install from a medium once, and have a device that has no option of its own
  maqet.qemu.maqet_vm:
    name: desk1
    display: vnc
    vnc:
      port: 5901
      password: "{{ vnc_password }}"
    disks:
      - name: root
        size: 20G
      - name: medium
        path: /srv/images/installer.iso
        readonly: true
    boot:
      order: [root, medium]
    devices:
      - driver: qemu-xhci
        id: usb
      - driver: usb-tablet
        properties:
          bus: usb.0

- name: Wait until others can log in to it
  maqet.qemu.maqet_vm:
    name: web1
    wait_for:
      - ssh: {port: 22, timeout: 60}
      - cloud_init: {timeout: 300}
      - serial: {regex: 'login: ', timeout: 300}

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
        - The options that are managed. Memory in MiB, huge pages in KiB, and sizes in bytes. Passwords are hidden; of
          O(cloud_init) there are digests.
      type: dict
      returned: always
    disks: {description: The image of each disk., type: dict, returned: always}
    networks:
      description:
        - Its network cards. C(id) is the card's in QMP, where its back end is C(netN); C(interface) is the host's, of a
          bridge's or macvtap's card as long as the VM runs.
      type: list
      elements: dict
      returned: always
      sample: [{"id": "nic0", "type": "bridge", "model": "virtio-net-pci", "mac": "52:54:00:18:ee:ec",
        "interface": "web1-s57uzs-0"}]
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
    helpers:
      description: Processes that serve QEMU, such as C(tpm), and their pids. One that has ended too early has none.
      type: dict
      returned: when it runs
      sample: {"tpm": 4710}
    uptime: {description: Seconds since QEMU started., type: float, returned: when it runs}
    sockets: {description: 'Sockets of the runner, of the monitor for direct mode, and where there are such of the
      serial port and of VNC.', type: dict, returned: always}
    home: {description: The VM's folder., type: str, returned: always}
    output: {description: Folder for files that QEMU writes at a caller's wish., type: str, returned: always}
    serial_log: {description: What the first serial port said since the last start., type: str, returned: always}
    audit_log: {description: The VM's audit log., type: str, returned: always}
    addresses:
      description: Addresses of the guest, also those that others cannot use. See also M(maqet.qemu.maqet_guest).
      type: list
      elements: dict
      returned: when O(wait_for) asked for V(ip)
      sample: [{"interface": "eth0", "mac": "52:54:00:12:34:56", "family": "ipv4", "address": "192.0.2.10",
        "prefix": 24}]
    migration:
      description: Its way to or from another host, see M(maqet.qemu.maqet_migrate) - C(id), C(phase) and C(peer).
      type: dict
      returned: when it moves, or has come from another host
      sample: {"id": "0f8e2c", "phase": "handed_over", "peer": "hv2"}
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
  description: Disk images, UEFI variables and TPM state that O(state=absent) left on the host for want of O(purge).
  type: list
  elements: str
  returned: when there are any
events:
  description: QMP events that were seen while waiting.
  type: list
  elements: dict
  returned: when O(wait_for) asked for events
waited:
  description:
    - What of O(wait_for) has come, in the order in which it came, with the seconds that it took from the beginning of
      the waiting. C(found) is the event, the text, the address and port, or the addresses and who told them.
    - What a guest has said is untrusted.
  type: list
  elements: dict
  returned: when O(wait_for) was given and check mode is off
  sample: [{"wait": "ssh", "seconds": 12.3, "found": {"address": "127.0.0.1", "port": 2222, "banner": "SSH-2.0-x"}}]
last_seen:
  description: What was last seen of each wait that was still open.
  type: dict
  returned: when a wait has failed
audit:
  description: Audit records of the commands that the task sent.
  type: list
  elements: dict
  returned: always
error_code:
  description:
    - A stable word for what went wrong, one of V(invalid_option), V(vm_not_found), V(vm_not_running), V(vm_busy),
      V(vm_exited), V(restart_required), V(unplug_failed), V(stop_timeout), V(wait_timeout), V(qemu_not_found),
      V(qemu_failed), V(libraries_missing), V(runner_failed), V(runner_unreachable), V(monitor_unreachable),
      V(qmp_timeout), V(qmp_error), V(policy_denied), V(audit_failed), V(qemu_gone), V(qemu_unidentified),
      V(qemu_orphaned), V(state_unsafe), V(command_failed), V(host_error), V(no_identity), V(vm_migrating),
      V(vm_migrated).
  type: str
  returned: on failure
"""

import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils import task as door
from ansible_collections.maqet.qemu.plugins.module_utils.definition.options import SPEC
from ansible_collections.maqet.qemu.plugins.module_utils.host.paths import layout
from ansible_collections.maqet.qemu.plugins.module_utils.vm.carry_out import carry_out
from ansible_collections.maqet.qemu.plugins.module_utils.vm.wish import concealed, desired


def ensure(task: door.Task) -> dict[str, t.Any]:
    """Make the VM what the task says."""
    hidden = concealed(task.params)
    if hidden:
        task.conceal(hidden, ())
    wanted = desired(task.params)
    reason = f"maqet_vm: state={wanted.state}"
    return carry_out(task, layout(), wanted.name, reason, wanted.patience.timeout, lambda _stored: wanted)


def main() -> None:
    """The module."""
    door.run(SPEC, ensure)


if __name__ == "__main__":
    main()
