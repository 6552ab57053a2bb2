# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices and their properties: the part of device_add that QEMU's schema does not tell.

Sources: `-device NAME,help` for every device of QEMU 7.2 on x86_64 and aarch64, a classification by hand of the
properties that reach the host, and what QEMU does when it is tried:

- Names of drivers and properties have one spelling: other case, `_` for `-`, blanks and NUL are refused by QEMU. Only
  aliases of drivers exist (`virtio-input-host` is `virtio-input-host-pci`).
- A property takes any scalar, whatever its type: `pcap: 5` makes a file named 5. QEMU 7.2 ignores lists,
  objects and null.
- What is no device property can be set too: `realized: true` ends QEMU 7.2 with a segmentation fault. So what
  is not listed here has no kind, and is denied.
- `rng`, `iothread` and their like take an object's id or its QOM path.
"""

from __future__ import annotations

import functools
import re
import typing as t

#: Drivers that reach the host by themselves or by any of their properties: host devices, shared
#: memory, device processes outside QEMU, whatever file is loaded into the guest. A `*` at the end stands for the rest.
DENIED_DRIVERS: t.Final = (
    "ccid-card-emulated",
    "guest-loader",
    "hv-syndbg",
    "ivshmem*",
    "loader",
    "pvrdma",
    "u2f-*",
    "usb-host",
    "usb-mtp",
    "vfio-*",
    "vhost-*",
    "virtio-input-host*",  # with the alias virtio-input-host
    "x-pci-proxy-dev",
)

#: Kind -> properties, of whatever driver. Some are of devices that QEMU 7.2 does not have.
_POWERED: t.Final[dict[str, str]] = {
    "path-read": "romfile file kernel initrd db cdat sdrfile frudatafile dir config",
    "path-write": "pcap pcapfile",
    "path-rw": "rootdir jsonfile",
    "path-connect": "socket wayland-socket-path",
    "host-device": """
        evdev hidraw host sysfsdev hostdevice hostbus hostaddr hostport vendorid productid ibdev vhostdev wwpn
        guest-cid
    """,
    "fd": "fd vhostfd",
    "net-connect": "host_ip spdm_port spdm-port",
    "secret": "osk auth-key vf-token",
    "policy": "filter",  # usb-redir: which devices of the client's it takes
    "ref": """
        audiodev bmc canbus canbus0 canbus1 chardev cryptodev drive fsdev iothread lsa mad-chardev masterbus memdev
        netdev pmrdev primary-bus rng sriov-pf subsys tpmdev
    """,
    # Two writers of one disk; a tree of the host that becomes writable; SCSI commands passed to a host disk.
    "flag": "share-rw readonly scsi",
}

#: Texts that name something, numbers that place a device, and the places of a CPU.
_NAMES: t.Final = """
    bus device_id display driver duplex failover_pair_id fp_start_macaddr hba_serial id mac model mount_tag name nqn
    port product serial tag tx uuid vendor ver world
    socket-id die-id cluster-id module-id core-id thread-id node-id
"""

#: Booleans, numbers, sizes and enumerations, none of which reaches the host. Left out: flags of CPU
#: models, devices that cannot be hot-plugged, and devices of denied drivers.
_PLAIN: t.Final = """
    account-failed account-invalid acpi-index addr aer aer_log_max aer_max_queued aerl always-plugged any_layout
    ats attached autonegotiation backend_defaults bandwidth baudbase big-endian-framebuffer bios-chs-trans
    blitter blob block-size boot-bypass bootindex buffer bus-reserve bus_nr bypass_iommu cad capareg channel
    chassis chassis_nr class cmb_size_mb cmd_per_lun cmdlog commandlog config-wce csum ctrl_guest_offloads
    ctrl_mac_addr ctrl_rx ctrl_rx_extra ctrl_vlan ctrl_vq cyls debug deflate-on-oom detached disable-acs
    disable-legacy disable-modern disable_vnet_hdr discard discard_granularity dma_mask dpofua edid
    emergency-write eui64 eui64-default event_idx events extra_mac_registers failover firstport
    force-pcie-endcap free-page-hint free-page-reporting global-vmstate gso guest-stats-polling-interval
    guest_announce guest_csum guest_ecn guest_hwcursor guest_rsc_ext guest_tso4 guest_tso6 guest_ufo guestdebug
    hash head heads host_ecn host_mtu host_tso4 host_tso6 host_ufo hotplug index indirect_desc init-vet intrs
    io-reserve io_timeout iobase ioeventfd iommu_platform irq label-size lcyls len-ports len-reserved-regions
    lheads log-scsi-req logical_block_size lsecs lun max-bytes max-discard-sectors max-write-zeroes-sectors
    max_cmds max_hostmem max_io_size max_ioqpairs max_outputs max_ports max_sectors max_sge max_unmap_size
    maxcurr maxframes mcl mdts mem-reserve memaddr membar migrate-extra migrate_tso_props min_io_size mitigation
    mixer mmio modern-pio-notify mq mrg_rxbuf ms mset msi msix msix-exclusive-bar msix_qsize msos-desc msrc
    mssrl multi multifunction node notify_on_empty nr nsid num-ports num-queues num_queues numa_node
    old_msi_addr opt_io_size p2 p3 packed page-per-vq page-poison param_change period physical_block_size pi pif
    pil port-power port_index port_wwn ports power_controller_present ppi prealloc pref32-reserve pref64-reserve
    prog_if qemu-4-0-config-size qemu-extended-regs queue-size queue_reset quirk_mode_page_apple_vendor
    quirk_mode_page_truncated quirk_mode_page_vendor_specific_apple quirk_mode_sense_rom_use_dbd ram_size
    ram_size_mb readback record_size refresh_rate removable report-discard-granularity request-merging
    requested-size rerror revision rombar romsize rotation_rate rsc_interval rss rx_queue_size sas_address
    scsi-id scsi_version sd-spec-version secs seg-max-adjust seg_max_adjust shared shpc size slot slots
    smart_critical_warning sn speed sriov_max_vfs sriov_max_vi_per_vf sriov_max_vq_per_vf sriov_vi_flexible
    sriov_vq_flexible status streams subsys_ven superspeed-ports-first suppress-remote-wake surfaces switch_id
    tx_queue_size uhs unarmed unit unplugged-inaccessible usb_version use-disabled-flag use-intel-id use-started
    use-timer use_jbod use_msg vectors vgamem vgamem_mb virtio-pci-bus-master-bug-migration virtqueue_size
    vram64_size_mb vram_size vram_size_mb vsl wakeup werror wheel-axis write-cache write-zeroes wwn xmax xres
    ymax yres zoned zoned.auto_transition zoned.cross_read zoned.descr_ext_size zoned.max_active zoned.max_open
    zoned.numzrwa zoned.zasl zoned.zone_capacity zoned.zone_size zoned.zrwafg zoned.zrwas
"""

#: The same of later QEMUs, which were not at hand to try.
_LATER: t.Final = """
    aw-bits dynamic-memslots granule guest_uso4 guest_uso6 host_uso in_order
"""

_NUMBERED = re.compile(r"chardev[0-9]{1,2}")
_DRIVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9,._+-]*")
_EXACT = frozenset(name for name in DENIED_DRIVERS if not name.endswith("*"))
_BEGINNINGS = tuple(name[:-1] for name in DENIED_DRIVERS if name.endswith("*"))


def kind_of_property(name: object) -> str | None:
    """The kind of a property, whichever driver's it is; None if nobody has classified it.

    Experimental properties (``x-``) are ``flag``: what they do changes with QEMU, so a policy must name them.
    """
    if not isinstance(name, str):
        return None
    if _NUMBERED.fullmatch(name):
        return "ref"
    return _kinds().get(name) or ("flag" if name.startswith("x-") else None)


def denied_driver(driver: object) -> bool:
    """Whether a driver reaches the host in itself. True also for what cannot be the name of one."""
    if not isinstance(driver, str) or not _DRIVER.fullmatch(driver):
        return True
    return driver in _EXACT or driver.startswith(_BEGINNINGS)


@functools.lru_cache(maxsize=1)
def _kinds() -> dict[str, str]:
    kinds = dict.fromkeys(f"{_NAMES} {_PLAIN} {_LATER}".split(), "ident")
    for kind, names in _POWERED.items():
        kinds.update(dict.fromkeys(names.split(), kind))
    return kinds
