# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each string in a QMP request may do to the host: one kind for every string leaf of every command.

Source: a classification by hand of all string leaves of the schemas of QEMU 7.2 and 11.1. A leaf that is not
here has no kind, and is denied, even if a newer QEMU knows it.

The data is text, split when a command is first asked for, because modules are compiled anew for every task.
A line begins with the names of commands, or of a definition that several commands share, and lists its leaves
as ``path=kind``; a path alone is an identifier (``ident``). An indented line goes on: the word before its colon
stands before each of the line's paths, once for each union branch between the braces. ``path@shape`` is a socket
address, one of ``_ADDRESSES``.

Paths: ``a.b`` member, ``a[]`` item of a list, ``{x}`` the union's branch whose tag is ``x``.
"""

from __future__ import annotations

import functools
import typing as t

#: Commands whose arguments are a definition.
_USES: t.Final[dict[str, str]] = {
    "blockdev-add": "BlockdevOptions",
    "blockdev-create": "BlockdevCreateOptions",
    "chardev-add": "ChardevAdd",
    "chardev-change": "ChardevAdd",
    "netdev_add": "Netdev",
    "object-add": "ObjectOptions",
}

#: Shape -> (kind of host, port and cid, kind of a unix path, what stands before each member).
_ADDRESSES: t.Final[dict[str, tuple[str, str, str]]] = {
    "connect": ("net-connect", "path-connect", ""),
    "listen": ("net-listen", "path-listen", ""),
    "listen-data": ("net-listen", "path-listen", "data."),
    # A character device listens or connects, as its member `server` says: the rules look.
    "chardev": ("net-connect", "path-listen", "data."),
}

_LEAVES = """
BlockdevCreateOptions job-id
  options{file}.: filename=path-rw
  options{gluster}.: location.logfile=path-write location.path=net-target location.server[]@connect
  options{gluster}.: location.volume=net-target
  options{luks}.: file=node-ref header=node-ref key-secret=secret-ref
  options{nfs}.: location.path=net-target location.server.host=net-target
  options{parallels,vdi,vhdx,vpc}.: file=node-ref
  options{qcow2}.: backing-file=blk-filename-stored data-file=node-ref file=node-ref
  options{qcow2}.encrypt{luks,qcow}.: key-secret=secret-ref
  options{qcow,qed}.: backing-file=blk-filename-stored file=node-ref
  options{qcow}.encrypt{luks,qcow}.: key-secret=secret-ref
  options{rbd}.encrypt{luks2,luks}.: key-secret=secret-ref
  options{rbd}.: location.conf=path-read location.encrypt.parent=node-ref location.image=net-target
  options{rbd}.: location.key-secret=secret-ref location.namespace=net-target location.pool=net-target
  options{rbd}.: location.server[].host=net-target location.server[].port=net-target
  options{rbd}.: location.snapshot=net-target location.user=net-target
  options{rbd}.location.encrypt{luks-any,luks2,luks}.: key-secret=secret-ref
  options{ssh}.location.host-key-check{hash}.: hash=net-target
  options{ssh}.: location.path=net-target location.server.host=net-target location.server.port=net-target
  options{ssh}.: location.user=net-target
  options{vmdk}.: backing-file=blk-filename-stored extents[]=node-ref file=node-ref hwversion toolsversion
BlockdevOptions node-name
  {blkdebug}.: config=path-read image=node-ref
  {blklogwrites}.: file=node-ref log=node-ref
  {blkreplay}.: image=node-ref
  {blkverify}.: raw=node-ref test=node-ref
  {bochs,cloop,compress,dmg,parallels,preallocate,raw,snapshot-access,vdi,vhdx,vpc}.: file=node-ref
  {copy-before-write}.: bitmap.name=ref bitmap.node=ref file=node-ref target=node-ref
  {copy-on-read}.: bottom=node-ref file=node-ref
  {file,host_cdrom,host_device}.: filename=path-rw pr-manager=ref
  {ftps,ftp}.: password-secret=secret-ref proxy-password-secret=secret-ref proxy-username=net-target url=uri-net
  {ftps,ftp}.: username=net-target
  {gluster}.: logfile=path-write path=net-target server[]@connect volume=net-target
  {https,http}.: cookie=secret cookie-secret=secret-ref password-secret=secret-ref
  {https,http}.: proxy-password-secret=secret-ref proxy-username=net-target url=uri-net username=net-target
  {io_uring}.: filename=path-rw
  {iscsi}.: initiator-name=net-target password-secret=secret-ref portal=net-target target=net-target
  {iscsi}.: user=net-target
  {luks}.: file=node-ref header=node-ref key-secret=secret-ref
  {nbd}.: export=net-target server@connect tls-creds=ref tls-hostname=net-target x-dirty-bitmap=net-target
  {nfs}.: path=net-target server.host=net-target
  {nvme-io_uring,virtio-blk-vfio-pci,virtio-blk-vhost-user,virtio-blk-vhost-vdpa}.: path=path-rw
  {nvme}.: device=host-device
  {qcow2}.: backing=node-ref data-file=node-ref file=node-ref
  {qcow2}.encrypt{aes,luks}.: key-secret=secret-ref
  {qcow,qed,vmdk}.: backing=node-ref file=node-ref
  {qcow}.encrypt{aes}.: key-secret=secret-ref
  {quorum}.: children[]=node-ref
  {rbd}.: conf=path-read encrypt.parent=node-ref image=net-target key-secret=secret-ref namespace=net-target
  {rbd}.: pool=net-target server[].host=net-target server[].port=net-target snapshot=net-target user=net-target
  {rbd}.encrypt{luks-any,luks2,luks}.: key-secret=secret-ref
  {replication}.: file=node-ref top-id=ref
  {ssh}.host-key-check{hash}.: hash=net-target
  {ssh}.: path=net-target server.host=net-target server.port=net-target user=net-target
  {throttle}.: file=node-ref throttle-group=ref
  {vvfat}.: dir=path-rw label
ChardevAdd id
  backend{braille,console,memory,msmouse,null,qemu-vdagent,ringbuf,stdio,testdev,vc,wctablet}.: data.logfile=path-write
  backend{dbus}.: data.logfile=path-write data.name=opaque
  backend{file}.: data.in=path-read data.logfile=path-write data.out=path-write
  backend{hub}.: data.chardevs[] data.logfile=path-write
  backend{mux}.: data.chardev data.logfile=path-write
  backend{parallel,pipe,serial}.: data.device=path-rw data.logfile=path-write
  backend{pty}.: data.logfile=path-write data.path=path-write
  backend{socket}.: data.addr@chardev data.logfile=path-write data.tls-authz data.tls-creds
  backend{spiceport}.: data.fqdn data.logfile=path-write
  backend{spicevmc}.: data.logfile=path-write data.type
  backend{udp}.: data.local@chardev data.logfile=path-write data.remote@chardev
Netdev id
  {bridge}.: br=host-device helper=exec
  {dgram}.: local@connect remote@connect
  {hubport}.: netdev=net-config
  {l2tpv3}.: dst=net-connect dstport=net-connect src=net-connect srcport=net-connect
  {netmap}.: devname=host-device ifname=host-device
  {nic}.: addr=net-config macaddr=net-config model=net-config netdev=net-config
  {passt}.: address=net-config dns=net-config dns-forward=net-config dns-host=net-config fqdn=net-config
  {passt}.: gateway=net-config interface=net-config mac=net-config map-guest-addr=net-config
  {passt}.: map-host-loopback=net-config netmask=net-config outbound=net-config outbound-if4=net-config
  {passt}.: outbound-if6=net-config param[].str=exec path=exec search[].str=net-config
  {passt}.: tcp-ports[].str=net-listen udp-ports[].str=net-listen
  {socket}.: connect=net-connect fd=fd listen=net-listen localaddr=net-connect mcast=net-connect udp=net-connect
  {stream}.: addr@connect
  {tap}.: br=host-device downscript=exec fd=fd fds=fd helper=exec ifname=host-device script=exec vhostfd=fd
  {tap}.: vhostfds=fd
  {user}.: bootfile=opaque dhcpstart=net-config dns=net-config dnssearch[].str=net-config domainname=net-config
  {user}.: guestfwd[].str=exec host=net-config hostfwd[].str=net-listen hostname=net-config ip=net-config
  {user}.: ipv6-dns=net-config ipv6-host=net-config ipv6-prefix=net-config net=net-config smb=path-read
  {user}.: smbserver=net-config tftp=path-read tftp-server-name=net-config
  {vde}.: group=opaque sock=path-connect
  {vhost-user}.: chardev
  {vhost-vdpa}.: vhostdev=host-device vhostfd=fd
ObjectOptions id
  {acpi-generic-initiator}.: pci-dev
  {acpi-generic-port}.: pci-bus
  {authz-listfile,rng-random}.: filename=path-read
  {authz-list}.: rules[].match=policy
  {authz-pam}.: service=policy
  {authz-simple}.: identity=policy
  {can-host-socketcan}.: canbus if=host-device
  {colo-compare}.: iothread notify_dev outdev primary_in secondary_in
  {cryptodev-vhost-user,rng-egd}.: chardev
  {dbus-vmstate}.: addr=uri-net id-list
  {filter-buffer,filter-replay,filter-rewriter}.: netdev position status
  {filter-dump}.: file=path-write netdev position status
  {filter-mirror}.: netdev outdev position status
  {filter-redirector}.: indev netdev outdev position status
  {input-barrier}.: height name port=net-connect server=net-connect width x-origin y-origin
  {input-linux}.: evdev=host-device
  {iommufd}.: fd=fd
  {memory-backend-epc,memory-backend-memfd,memory-backend-ram,memory-backend-shm}.: prealloc-context
  {memory-backend-file}.: mem-path=path-rw prealloc-context
  {monitor-hmp,monitor-qmp}.: chardev=monitor
  {pr-manager-helper}.: path=path-connect
  {qtest}.: chardev=monitor log=path-write
  {secret_keyring}.: iv=secret-ref keyid=secret-ref
  {secret}.: data=secret file=path-read iv keyid
  {sev-guest}.: dh-cert-file=path-read session-file=path-read sev-device=host-device
  {sev-snp-guest}.: guest-visible-workarounds host-data=opaque id-auth=opaque id-block=opaque
  {sev-snp-guest}.: sev-device=host-device
  {tdx-guest}.: mrconfigid=opaque mrowner=opaque mrownerconfig=opaque quote-generation-socket@connect
  {tls-cipher-suites,tls-creds-anon}.: dir=path-read priority
  {tls-creds-psk}.: dir=path-read priority username
  {tls-creds-x509}.: dir=path-read passwordid priority
  {x-remote-object}.: devid fd=fd
  {x-vfio-user-server}.: device=ref socket@connect
add-fd opaque=opaque
add_client fdname=fd protocol
announce-self id interfaces[]
block-commit backing-file=blk-filename-stored base=path-match base-node device filter-node-name job-id
  : top=path-match top-node
block-dirty-bitmap-add,block-dirty-bitmap-clear,block-dirty-bitmap-disable,block-dirty-bitmap-enable name node
block-dirty-bitmap-remove,x-debug-block-dirty-bitmap-sha256 name node
block-dirty-bitmap-merge bitmaps[] bitmaps[].name bitmaps[].node node target
block-export-add id iothread iothread[] node-name
  {fuse}.: mountpoint=path-mount
  {nbd}.: bitmaps[] bitmaps[].name bitmaps[].node description name
  {vduse-blk}.: name serial
  {vhost-user-blk}.: addr@listen
block-export-del,block-job-change,block-job-dismiss,block-job-finalize,block-latency-histogram-set id
blockdev-remove-medium,chardev-remove,chardev-send-break,device-sync-config,device_del,job-cancel id
job-complete,job-dismiss,job-finalize,job-pause,job-resume,netdev_del,object-del id
block-job-cancel,block-job-complete,block-job-pause,block-job-resume,block-job-set-speed device
input-send-event,ringbuf-read device
block-set-write-threshold,blockdev-del,blockdev-set-active node-name
block-stream backing-file=blk-filename-stored base=path-match base-node bottom device filter-node-name job-id
block_resize device node-name
block_set_io_throttle device group id
blockdev-backup bitmap device filter-node-name job-id target
blockdev-change-medium device filename=blk-filename format id
blockdev-close-tray,blockdev-open-tray,eject device id
blockdev-insert-medium id node-name
blockdev-mirror device filter-node-name job-id replaces target
blockdev-snapshot node overlay
blockdev-snapshot-delete-internal-sync device id name
blockdev-snapshot-internal-sync device name
blockdev-snapshot-sync device format node-name snapshot-file=blk-filename-write snapshot-node-name
change-backing-file backing-file=blk-filename-stored device image-node-name
change-vnc-password password=secret
client_migrate_info cert-subject=net-connect hostname=net-connect protocol
closefd,getfd fdname=fd
cxl-add-dynamic-capacity,cxl-release-dynamic-capacity path tag
cxl-inject-correctable-error,cxl-inject-poison,cxl-inject-uncorrectable-errors,qom-list path
x-query-virtio-queue-element,x-query-virtio-queue-status,x-query-virtio-status path
x-query-virtio-vhost-queue-status path
cxl-inject-dram-event,cxl-inject-general-media-event,cxl-inject-memory-module-event component-id path
device-list-properties,qom-list-properties typename
device_add bus driver id
display-update
  {vnc}.: addresses[]@listen
drive-backup bitmap device filter-node-name format job-id target=blk-filename-write
drive-mirror device format job-id node-name replaces target=blk-filename-write
dump-guest-memory protocol=uri-file
dump-skeys,dumpdtb,memsave,pmemsave,xen-save-devices-state filename=path-write
expire_password time
  {vnc}.: display
human-monitor-command command-line=hmp
inject-ghes-v2-error cper=opaque
migrate channels[].addr{socket}@connect uri=uri-exec
  channels[].addr{exec}.: args[]=exec
  channels[].addr{file}.: filename=path-write
  channels[].addr{rdma}.: host=net-connect port=net-connect
migrate-incoming channels[].addr{socket}@listen uri=uri-exec
  channels[].addr{exec}.: args[]=exec
  channels[].addr{file}.: filename=path-write
  channels[].addr{rdma}.: host=net-listen port=net-listen
migrate-recover uri=uri-exec
migrate-set-parameters block-bitmap-mapping[].alias block-bitmap-mapping[].bitmaps[].alias
  : block-bitmap-mapping[].bitmaps[].name block-bitmap-mapping[].node-name cpr-exec-command[]=exec tls-authz
  : tls-creds tls-hostname
nbd-server-add bitmap description device name
nbd-server-remove,query-rocker,query-rocker-of-dpa-flows,query-rocker-of-dpa-groups,query-rocker-ports name
query-rx-filter,set_link,trace-event-get-state,trace-event-set-state name
nbd-server-start addr@listen-data tls-authz tls-creds
qom-get path=qom property=qom
qom-list-get paths[]=qom
qom-list-types implements
qom-set path=qom property=qom value=qom-value
query-command-line-options option
query-cpu-model-baseline,query-cpu-model-comparison modela.name modela.props modelb.name modelb.props
query-cpu-model-expansion model.name model.props
query-sev-attestation-report mnonce
query-stats providers[].names[]
  {vcpu}.: vcpus[]
ringbuf-write data=guest-data device
screendump device filename=path-write
set-numa-node
  {node}.: memdev
set_password password=secret
  {vnc}.: display
sev-inject-launch-secret packet-header=secret secret=secret
snapshot-delete devices[] job-id tag
snapshot-load,snapshot-save devices[] job-id tag vmstate
x-blockdev-amend job-id node-name
  options{luks}.: new-secret=secret-ref old-secret=secret-ref secret=secret-ref
  options{qcow2}.encrypt{luks}.: new-secret=secret-ref old-secret=secret-ref secret=secret-ref
x-blockdev-change child node parent
x-blockdev-set-iothread iothread node-name
xen-load-devices-state filename=path-read
yank
  instances[]{block-node}.: node-name
  instances[]{chardev}.: id
"""

_kinds: dict[str, dict[str, str]] = {}


def roots() -> frozenset[str]:
    """Every command and definition that the data lists."""
    return frozenset(_lines())


def root_of(command: str) -> str:
    """Under which name the arguments of ``command`` are listed: its own, or that of the definition it takes."""
    return _USES.get(command, command)


def kind_of(root: str, path: str) -> str | None:
    """The kind of a leaf of a command or definition; None if nobody has classified it."""
    return kinds_of(root).get(path)


def kinds_of(root: str) -> dict[str, str]:
    """Path -> kind, of all leaves of a command or definition. Not to be changed."""
    name = root_of(root)
    kinds = _kinds.get(name)
    if kinds is None:
        kinds = {}
        for line in _lines().get(name, ()):
            kinds.update(_leaves_in(line))
        if kinds:  # names that are not listed come from callers: they must not fill the memory
            _kinds[name] = kinds
    return kinds


def again(root: str, path: str) -> str:
    """The path at which the walk goes on in an object at ``path``, which may be one that holds its own type."""
    if path.endswith(".encrypt.parent"):  # a layer of encryption of an RBD image, around another
        return path[: -len(".parent")]
    return path


@functools.lru_cache(maxsize=1)
def _lines() -> dict[str, list[str]]:
    """Name -> its lines, each as ``prefix: words`` or ``words``."""
    found: dict[str, list[str]] = {}
    current: list[list[str]] = []
    for line in _LEAVES.strip().splitlines():
        if line.startswith(" "):
            for lines in current:
                lines.append(line.strip())
        else:
            names, _blank, words = line.partition(" ")
            current = [[words] for _name in names.split(",")]
            found.update(zip(names.split(","), current))
    return found


def _leaves_in(line: str) -> t.Iterator[tuple[str, str]]:
    prefix, colon, words = line.rpartition(":")
    for before in _prefixes(prefix) if colon else [""]:
        for word in words.split():
            path, at, shape = word.partition("@")
            if at:
                yield from _address(before + path, *_ADDRESSES[shape])
            else:
                path, _is, kind = word.partition("=")
                yield before + path, kind or "ident"


def _prefixes(text: str) -> list[str]:
    """``a{x,y}.`` -> ``a{x}.``, ``a{y}.``"""
    head, brace, rest = text.rpartition("{")
    cases, _brace, tail = rest.partition("}")
    return [f"{head}{{{case}}}{tail}" for case in cases.split(",")] if brace else [text]


def _address(path: str, net: str, unix: str, data: str) -> t.Iterator[tuple[str, str]]:
    """The leaves of QAPI's SocketAddress, or of its older form, whose members lie in ``data``."""
    yield f"{path}{{fd}}.{data}str", "fd"
    yield f"{path}{{unix}}.{data}path", unix
    for member in ("{inet}.host", "{inet}.port", "{vsock}.cid", "{vsock}.port"):
        branch, _dot, name = member.partition(".")
        yield f"{path}{branch}.{data}{name}", net
