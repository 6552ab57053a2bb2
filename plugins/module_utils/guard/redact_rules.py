# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where secrets are, as data: in the arguments and replies of which commands, and under which names anywhere.

A rule is a path and a treatment. A path is dotted; ``[]`` is any item of a list, ``**`` any number
of levels. Treatments (``redact.py`` carries them out):

===============  ==========================================================================
``secret``       removed whole, and masked wherever else it turns up, however short it is
``secret64``     the same for a text in base64; what it stands for is masked too
``value``        removed whole; masked elsewhere unless it is too short to be worth it
``string``       the same if it is a string; else its members are looked at
``count``        only the number of its items is left (typed keys)
``exec``         what is before ``exec:`` is left
``words``        the first word is left
``tally``        as count, and not masked elsewhere either
``fingerprint``  replaced by the fingerprint of the ssh key that it is
===============  ==========================================================================
"""

from __future__ import annotations

import typing as t

Rules = t.Tuple[t.Tuple[str, str], ...]

_OBJECT_TYPES = """
    acpi-generic-initiator acpi-generic-port authz-list authz-listfile authz-pam authz-simple can-bus
    can-host-socketcan colo-compare cryptodev-backend cryptodev-backend-builtin cryptodev-backend-lkcf
    cryptodev-vhost-user dbus-vmstate filter-buffer filter-dump filter-mirror filter-redirector filter-replay
    filter-rewriter input-barrier input-linux iommufd iothread main-loop memory-backend-epc memory-backend-file
    memory-backend-memfd memory-backend-ram memory-backend-shm monitor-hmp monitor-qmp pef-guest
    pr-manager-helper qtest rng-builtin rng-egd rng-random s390-pv-guest secret secret_keyring sev-guest
    sev-snp-guest tdx-guest thread-context throttle-group tls-cipher-suites tls-creds-anon tls-creds-psk
    tls-creds-x509 x-remote-object x-vfio-user-server
"""

_URI: Rules = (("uri", "exec"), ("channels.[].addr.args.[]", "value"))
_KEYS: Rules = (("keys.[]", "fingerprint"),)

#: Command -> rules for its arguments. Of commands that are not here only the nets below remove anything.
ARGUMENTS: t.Final[dict[str, Rules]] = {
    "set_password": (("password", "secret"),),
    "change-vnc-password": (("password", "secret"),),
    "block_passwd": (("password", "secret"),),
    "change": (("arg", "secret"),),
    "sev-inject-launch-secret": (("secret", "secret64"), ("packet-header", "secret")),
    "device_add": (("**.osk", "secret"), ("**.auth-key", "secret"), ("**.vf-token", "secret")),
    "migrate": _URI,
    "migrate-incoming": _URI,
    "migrate-recover": (("uri", "exec"),),
    "migrate-set-parameters": (("cpr-exec-command.[]", "value"),),
    "netdev_add": (("guestfwd.**", "string"), ("helper", "value"), ("param.**", "string")),
    "human-monitor-command": (("command-line", "words"),),
    "qom-set": (("value", "value"),),
    "send-key": (("keys", "count"),),
    "input-send-event": (("events", "count"),),
    "ringbuf-write": (("data", "value"),),
    "inject-ghes-v2-error": (("cper", "value"),),
    # The guest agent's own.
    "guest-set-user-password": (("password", "secret64"),),
    # Counted, not masked elsewhere: every result that holds a word of them would be.
    "guest-exec": (("arg", "tally"), ("env", "tally"), ("input-data", "tally")),
    "guest-file-write": (("buf-b64", "tally"),),
    "guest-ssh-add-authorized-keys": _KEYS,
    "guest-ssh-remove-authorized-keys": _KEYS,
}

#: Arguments that hold no secret, of commands that carry one: under any other name (a misspelt ``password``, say)
#: every string is removed. ``object-add secret`` stands for that type of object.
PLAIN: t.Final[dict[str, frozenset[str]]] = {
    name: frozenset(words.split())
    for name, words in {
        "set_password": "protocol connected display",
        "change-vnc-password": "",
        "block_passwd": "device node-name",
        "change": "device target",
        "sev-inject-launch-secret": "gpa",
        "human-monitor-command": "cpu-index",
        "qom-set": "path property",
        "send-key": "hold-time",
        "input-send-event": "device head",
        "ringbuf-write": "device format",
        "inject-ghes-v2-error": "",
        "object-add secret": "id qom-type format keyid iv file",
        "object-add": "id qom-type",
        "guest-set-user-password": "username crypted",
        "guest-exec": "path capture-output",
        "guest-file-write": "handle count",
        "guest-ssh-add-authorized-keys": "username reset",
        "guest-ssh-remove-authorized-keys": "username",
    }.items()
}

#: Command -> rules for what its reply holds under "return"; an empty path is all of it.
REPLIES: t.Final[dict[str, Rules]] = {
    "qom-get": (("", "value"),),
    "qom-list-get": (("", "value"),),
    "ringbuf-read": (("", "value"),),
    "human-monitor-command": (("", "value"),),
    "query-firmware-log": (("", "value"),),
    "query-migrate-parameters": (("cpr-exec-command", "value"),),
    "query-sev-launch-measure": (("data", "value"),),
    "query-sev-attestation-report": (("data", "value"),),
    "guest-file-read": (("buf-b64", "value"),),
    "guest-exec-status": (("out-data", "value"), ("err-data", "value")),
    "guest-ssh-get-authorized-keys": _KEYS,
}

#: Nets: what is called so is a secret wherever it stands.
EVERYWHERE: t.Final[Rules] = (("**.password", "secret"), ("**.passwd", "secret"), ("**.cookie", "secret"))
EVERY_STRING: t.Final[Rules] = (*EVERYWHERE, ("**", "string"))

#: Types of object-add whose fields are known to hold no secret (``secret`` itself: its data).
OBJECT_TYPES: t.Final = frozenset(_OBJECT_TYPES.split())

#: Commands of the human monitor whose last word is a password.
HMP_PASSWORD: t.Final = frozenset({"set_password", "change", "change_vnc_password", "block_passwd"})

#: Commands of the human monitor whose words hold no secret.
HMP_PLAIN: t.Final = frozenset({"info", "help", "?"})
