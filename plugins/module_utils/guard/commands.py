# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The class of every QMP command, as data: one string a class, split once at import.

Source: a classification by hand of the live schemas of QEMU 7.2 and 11.1, and by what each command
does to the host when it is tried. A command that is not here has no class, and is denied.
"""

from __future__ import annotations

import typing as t

_UNSTABLE = """
    cxl-add-dynamic-capacity cxl-release-dynamic-capacity device-sync-config inject-ghes-v2-error
    query-s390x-cpu-polarization set-cpu-topology x-accel-stats x-blockdev-amend x-blockdev-change
    x-blockdev-set-iothread x-colo-lost-heartbeat x-debug-block-dirty-bitmap-sha256
    x-debug-query-block-graph x-exit-preconfig x-query-interrupt-controllers x-query-irq x-query-jit
    x-query-numa x-query-opcount x-query-profile x-query-ramblock x-query-rdma x-query-roms x-query-usb
    x-query-virtio x-query-virtio-queue-element x-query-virtio-queue-status x-query-virtio-status
    x-query-virtio-vhost-queue-status
"""

_FIELD_JUDGED = """
    block-commit block-stream blockdev-add blockdev-change-medium blockdev-create blockdev-reopen
    blockdev-snapshot-sync change-backing-file chardev-add chardev-change client_migrate_info device_add
    display-update drive-backup drive-mirror dump-guest-memory dump-skeys dumpdtb human-monitor-command memsave
    migrate migrate-incoming migrate-recover migrate-set-parameters nbd-server-start netdev_add object-add pmemsave
    qom-get qom-list-get qom-set screendump transaction xen-load-devices-state xen-save-devices-state
"""

#: In rising power. ``unstable`` is output for debugging that may change with any release.
CLASSES: t.Final = (
    "read",
    "introspect",
    "unstable",
    "guest",
    "availability",
    "disclosure",
    "host-net",
    "host-file",
    "host-exec",
)

#: Commands of these classes change nothing.
LOOKING: t.Final = ("read", "introspect")

_NAMES: t.Final[dict[str, str]] = {
    "read": """
        query-acpi-ospm-status query-audiodevs query-balloon query-block query-block-exports query-block-jobs
        query-blockstats query-chardev query-colo-status query-cpus-fast query-cryptodev query-current-machine
        query-dirty-rate query-display-options query-dump query-fdsets query-hotpluggable-cpus
        query-hv-balloon-status-report query-iothreads query-jobs query-kvm query-memdev query-memory-devices
        query-memory-size-summary query-mice query-migrate query-migrate-capabilities query-migrate-parameters
        query-migrationthreads query-name query-named-block-nodes query-pci query-pr-managers query-replay
        query-rocker query-rocker-of-dpa-flows query-rocker-of-dpa-groups query-rocker-ports query-rx-filter
        query-s390x-cpu-polarization query-sev query-sev-attestation-report query-sev-launch-measure query-sgx
        query-spice query-stats query-status query-tpm query-uuid query-vcpu-dirty-limit query-vm-generation-id
        query-vnc query-vnc-servers query-xen-replication-status query-yank trace-event-get-state xen-event-list
    """,
    "introspect": """
        device-list-properties qmp_capabilities qom-list qom-list-properties qom-list-types query-accelerators
        query-chardev-backends query-command-line-options query-commands query-cpu-definitions
        query-cpu-model-baseline query-cpu-model-comparison query-cpu-model-expansion
        query-dump-guest-memory-capability query-gic-capabilities query-machines query-qmp-schema
        query-sev-capabilities query-sgx-capabilities query-stats-schemas query-target query-tpm-models
        query-tpm-types query-version request-ebpf
    """,
    "unstable": """
        x-accel-stats x-debug-block-dirty-bitmap-sha256 x-debug-query-block-graph x-query-interrupt-controllers
        x-query-irq x-query-jit x-query-numa x-query-opcount x-query-profile x-query-ramblock x-query-rdma
        x-query-roms x-query-usb x-query-virtio x-query-virtio-queue-status x-query-virtio-status
        x-query-virtio-vhost-queue-status
    """,
    "guest": """
        announce-self block-dirty-bitmap-add block-dirty-bitmap-clear block-dirty-bitmap-disable
        block-dirty-bitmap-enable block-dirty-bitmap-merge block-dirty-bitmap-remove block-job-change
        block-job-complete block-job-dismiss block-job-finalize block-job-resume block-latency-histogram-set
        block-set-write-threshold block_resize blockdev-close-tray blockdev-insert-medium blockdev-open-tray
        blockdev-snapshot blockdev-snapshot-delete-internal-sync blockdev-snapshot-internal-sync
        cancel-vcpu-dirty-limit chardev-send-break cont cxl-add-dynamic-capacity cxl-inject-correctable-error
        cxl-inject-dram-event cxl-inject-general-media-event cxl-inject-memory-module-event device-sync-config
        input-send-event job-complete job-dismiss job-finalize job-resume qom-set replay-break
        replay-delete-break replay-seek ringbuf-write rtc-reset-reinjection send-key set-cpu-topology
        set-numa-node sev-inject-launch-secret snapshot-delete system_wakeup x-blockdev-amend x-blockdev-change
        x-blockdev-set-iothread x-exit-preconfig xen-event-inject
    """,
    "availability": """
        balloon block-export-del block-job-cancel block-job-pause block-job-set-speed block_set_io_throttle
        blockdev-del blockdev-remove-medium blockdev-set-active calc-dirty-rate chardev-remove closefd
        cxl-inject-poison cxl-inject-uncorrectable-errors cxl-release-dynamic-capacity device_del eject
        expire_password inject-ghes-v2-error inject-nmi job-cancel job-pause migrate-continue migrate-pause
        migrate-set-capabilities migrate-start-postcopy migrate_cancel nbd-server-remove nbd-server-stop
        netdev_del object-del quit remove-fd set-action set-vcpu-dirty-limit set_link snapshot-load
        snapshot-save stop system_powerdown system_reset watchdog-set-action x-colo-lost-heartbeat
        xen-colo-do-checkpoint xen-set-global-dirty-log xen-set-replication yank
    """,
    "disclosure": """
        blockdev-backup blockdev-mirror change-vnc-password qom-get qom-list-get query-firmware-log ringbuf-read
        set_password trace-event-set-state x-query-virtio-queue-element
    """,
    "host-net": """
        add_client block-export-add client_migrate_info display-reload display-update get-win32-socket
        nbd-server-add nbd-server-start
    """,
    "host-file": """
        add-fd block-commit block-stream blockdev-add blockdev-change-medium blockdev-create blockdev-reopen
        blockdev-snapshot-sync change-backing-file chardev-add chardev-change device_add drive-backup
        drive-mirror dump-guest-memory dump-skeys dumpdtb getfd memsave pmemsave screendump transaction
        xen-load-devices-state xen-save-devices-state
    """,
    "host-exec": """
        human-monitor-command migrate migrate-incoming migrate-recover migrate-set-parameters netdev_add
        object-add
    """,
}

#: Command -> class.
CLASS_OF: t.Final[dict[str, str]] = {name: cls for cls, names in _NAMES.items() for name in names.split()}

#: What QEMU's own schema marks as unstable, whatever its class.
UNSTABLE: t.Final = frozenset(_UNSTABLE.split())

#: Commands whose power lies in what their arguments name: without one that reaches far they are harmless, so the
#: rules for fields decide. Every other command of a class above ``availability`` is one that a policy must allow.
FIELD_JUDGED: t.Final = frozenset(_FIELD_JUDGED.split())

#: Named rows of the policy: sent only with the caller's consent, and why.
CONSENT: t.Final[dict[str, str]] = {
    "human-monitor-command": "its text is a second command language that no rule reads: everything QEMU can do",
    "expire_password": "it decides until when a console's password holds",
    "inject-nmi": "it may panic or crash-dump the guest",
    # Both make an object of the type that is asked about. QEMU 7.2.22, asked about each type it has, exits
    # for virtio-gpu-gl-pci and virtio-vga-gl; the second also aborts for microvm-machine, colo-compare,
    # x-remote-object and qio-net-listener.
    "device-list-properties": "QEMU makes an object of the type to answer, and for some types that ends QEMU",
    "qom-list-properties": "QEMU makes an object of the type to answer, and for some types that ends QEMU",
}

#: Questions that can end QEMU: who may not end it may not ask them.
ENDING: t.Final = frozenset({"device-list-properties", "qom-list-properties"})


def class_of(command: str) -> str | None:
    """The class of ``command``, or None when nobody has classified it."""
    return CLASS_OF.get(command)
