# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud-init's data as users give them: each part a structure, or a text that is taken as it is.

They hold passwords and keys. So no error quotes them; it says where something is wrong, and of what kind.
"""

from __future__ import annotations

import difflib
import json
import re
import typing as t

from ansible_collections.maqet.qemu.plugins.module_utils.definition import cloud_keys, seed, values
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError, invalid_option

PARTS = ("user_data", "meta_data", "network_config", "vendor_data")
FIELDS = (*PARTS, "instance_id", "rerun")

# It is stored with the VM, and read whenever somebody looks at it.
_MAX_BYTES = 1 << 20
# The name of a folder in the guest, below /var/lib/cloud/instances.
_INSTANCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_VERSION = re.compile(r"""^\s*["']?version["']?\s*:|^\s*["']?config["']?\s*:\s*["']?disabled""", re.MULTILINE)
_MAPPING = re.compile(r"""["']?[A-Za-z][\w.-]*["']?\s*:(\s|$)""", re.ASCII)


def cloud_init(option: str, value: t.Any) -> dict[str, t.Any]:
    """Normal form: only what was given; an empty dictionary for no seed at all."""
    given = values.fields(option, value, FIELDS)
    result: dict[str, t.Any] = {}
    checks = {
        "user_data": _user_data,
        "meta_data": _meta_data,
        "network_config": _network_config,
        "vendor_data": _user_data,
    }
    for part, check in checks.items():
        if given.get(part, "") != "":
            path = f"{option}.{part}"
            result[part] = check(path, part, given[part])
            _check_text(path, result[part])
    if given.get("instance_id", "") != "":
        remedy = "Use 1 to 128 ASCII letters, digits, '_', '.', ':' and '-', beginning with a letter or a digit."
        result["instance_id"] = values.matching(
            f"{option}.instance_id", given["instance_id"], _INSTANCE_ID, "is not an instance id", remedy
        )
    if "rerun" in given:
        result["rerun"] = values.yes_or_no(f"{option}.rerun", given["rerun"])
    _check_identity(option, result)
    return result


def _user_data(option: str, part: str, value: t.Any) -> t.Any:
    if isinstance(value, t.Mapping):
        config = dict(value)
        _check_keys(option, part, config, cloud_keys.CLOUD_CONFIG)
        for key in cloud_keys.LISTS:
            if config.get(key) is not None and not isinstance(config[key], (list, tuple)):
                remedy = "Give a list, even for a single one."
                raise invalid_option(f"{option}.{key}", _kind(config[key]), "is not a list", remedy)
        return config
    if not isinstance(value, str):
        raise _neither(option, value)
    problem = _headless(value)
    if problem:
        raise invalid_option(option, _kind(value), problem, _HEADER_REMEDY)
    return value


_HEADER_REMEDY = (
    "Begin it with #cloud-config, #!/bin/sh, #include, ## template: jinja or another header that cloud-init knows, or "
    "give a dictionary. For a file on the controller write lookup('ansible.builtin.file', ...)."
)


def _headless(text: str) -> str:
    """What is wrong with the beginning of a text, as cloud-init looks at it; '' if nothing is.

    Source: cloudinit/handlers/__init__.py (type_from_starts_with) and cloudinit/user_data.py (convert_string).
    """
    if cloud_keys.MIME in text[:4096].lower():
        return ""
    start = text.lstrip().lower()
    if start.startswith(cloud_keys.JINJA):
        rest = start.partition("\n")[2].lstrip()
        known = rest.startswith(cloud_keys.HEADERS)
        return "" if known else "is a jinja template whose second line is no header that cloud-init knows"
    if start.startswith(cloud_keys.HEADERS):
        return ""
    first = start.partition("\n")[0]
    if re.fullmatch(r"#+\s*cloud[-_ ]?config\W*", first):
        return "begins with a line that is nearly #cloud-config, and to cloud-init a comment"
    return "does not begin with a header that cloud-init knows, so that it would be passed over"


def _meta_data(option: str, part: str, value: t.Any) -> t.Any:
    if isinstance(value, str):
        value = _json_or_text(value)
    if isinstance(value, t.Mapping):
        data = dict(value)
        _check_keys(option, part, data, cloud_keys.META_DATA)
        if isinstance(data.get("instance-id"), int):
            data["instance-id"] = str(data["instance-id"])
        return data
    if not isinstance(value, str):
        raise _neither(option, value)
    lines = [line for line in value.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines or not _MAPPING.match(lines[0]) or any(line.startswith(("---", "...")) for line in lines):
        remedy = "Give a dictionary, or its text in YAML with a key at the beginning of the first line."
        raise invalid_option(option, _kind(value), "is not a mapping in YAML", remedy)
    return value


def _network_config(option: str, part: str, value: t.Any) -> t.Any:
    if isinstance(value, str):
        value = _json_or_text(value)
    if isinstance(value, t.Mapping):
        config = dict(value)
        # As netplan and /etc/cloud have it. Not every cloud-init takes that in a seed; all take what is in it.
        if set(config) == {"network"} and isinstance(config["network"], t.Mapping):
            config = dict(config["network"])
        if config.get("config") != "disabled":
            _check_network(option, part, config)
        return config
    if not isinstance(value, str):
        raise _neither(option, value)
    if not _VERSION.search(value):
        raise invalid_option(option, _kind(value), "says no version", _VERSION_REMEDY)
    return value


_VERSION_REMEDY = "Write version: 2 with ethernets, as netplan has them, or version: 1 with config."


def _check_network(option: str, part: str, config: dict[str, t.Any]) -> None:
    version = config.get("version")
    if version is None:
        raise invalid_option(option, sorted(map(str, config)), "has no version among its keys", _VERSION_REMEDY)
    if isinstance(version, str) and version in ("1", "2"):
        version = config["version"] = int(version)
    if isinstance(version, bool) or version not in cloud_keys.NETWORK:
        raise invalid_option(f"{option}.version", _kind(version), "is not 1 or 2", _VERSION_REMEDY)
    _check_keys(option, part, config, cloud_keys.NETWORK[version])
    if version == 1 and not isinstance(config.get("config"), (list, tuple)):
        raise invalid_option(f"{option}.config", _kind(config.get("config")), "is not a list", _VERSION_REMEDY)
    if version == 2 and not set(config) - {"version", "renderer"}:
        raise invalid_option(option, sorted(config), "are keys that configure nothing", _VERSION_REMEDY)


def _check_keys(option: str, part: str, found: t.Mapping[t.Any, t.Any], known: t.Collection[str]) -> None:
    """Refuse a key that belongs elsewhere, or that looks like a known one misspelt."""
    misplaced = cloud_keys.MISPLACED.get(part, {})
    for key in found:
        if not isinstance(key, str):
            raise invalid_option(f"{option}.{key}", key, "is a key that is not a string", "Put it into quotes.")
        if key in known:
            continue
        if key in misplaced:
            remedy = f"It belongs into {misplaced[key]}." if " " not in misplaced[key] else f"See {misplaced[key]}."
            raise invalid_option(f"{option}.{key}", key, f"is not a key of {part}", remedy)
        close = difflib.get_close_matches(key, known, 2, 0.8)
        if close:
            remedy = f"Did you mean {' or '.join(close)}? If not, give {part} as text, of which no keys are checked."
            raise invalid_option(f"{option}.{key}", key, "is not a key that cloud-init knows", remedy)


def _check_text(option: str, value: t.Any) -> None:
    """What can be written into a file at all."""
    try:
        data = (value if isinstance(value, str) else seed.as_yaml(value)).encode()
    except (TypeError, ValueError):  # UnicodeEncodeError is one; what it says may quote a secret
        problem = "holds what is neither text, number, boolean, list nor dictionary, or is not valid UTF-8"
        raise invalid_option(option, _kind(value), problem, "Give text in UTF-8.") from None
    if b"\0" in data:
        raise invalid_option(option, _kind(value), "holds a NUL character", "Encode binary data, as by b64encode.")
    if len(data) > _MAX_BYTES:
        remedy = f"Give {_MAX_BYTES} at most, and have the guest fetch the rest, as by #include."
        raise invalid_option(option, _kind(value), f"has {len(data)} bytes", remedy)


def _check_identity(option: str, given: t.Mapping[str, t.Any]) -> None:
    """Whoever names the instance names it once, and then no digest names it."""
    own = seed.own_instance_id(given.get("meta_data", {}))
    if own and "instance_id" in given:
        problem, remedy = "is beside an instance-id in meta_data", "Remove one of the two."
        raise invalid_option(f"{option}.instance_id", given["instance_id"], problem, remedy)
    if given.get("rerun") and (own or "instance_id" in given):
        problem = "makes an instance id of its own, beside the one that is given"
        raise invalid_option(f"{option}.rerun", True, problem, "Remove one of the two.")


def _json_or_text(text: str) -> t.Any:
    """JSON that has come as text, as the structure that it is."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _neither(option: str, value: t.Any) -> MaqetError:
    return invalid_option(option, _kind(value), "is neither a dictionary nor a text", "Give one of the two.")


def _kind(value: t.Any) -> str:
    """A value that may be secret, in a word."""
    if isinstance(value, str):
        return f"<text of {len(value)} characters>"
    return f"<{type(value).__name__}>"
