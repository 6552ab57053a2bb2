# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a NoCloud seed, made of what the user said, and what may be shown of it.

Source: cloud-init's documentation, "NoCloud": a file system labelled cidata with user-data and meta-data, which must be
there, network-config and vendor-data, which need not. The same input always gives the same files.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

_FILES = {"user_data": "user-data", "vendor_data": "vendor-data", "network_config": "network-config"}
_CLOUD_CONFIG = "#cloud-config\n"
# Raised when the files of an unchanged definition change, so that seeds of before are made anew.
_RECIPE = 1
# Characters that JSON leaves as they are, and YAML takes for line breaks, or not at all.
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_DIGITS = 16


def as_yaml(value: t.Any) -> str:
    """A structure as JSON that is YAML 1.1 too. Raises TypeError and ValueError for what neither can hold."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False, indent=1)
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def contents(cloud_init: t.Mapping[str, t.Any], name: str, uuid: str) -> dict[str, bytes]:
    """The files by their names, for the VM with this name and uuid; ``cloud_init`` is in its normal form."""
    texts = {"user-data": f"{_CLOUD_CONFIG}{{}}\n"}
    for part, file in _FILES.items():
        value = cloud_init.get(part)
        if isinstance(value, str):
            texts[file] = value
        elif value is not None:
            texts[file] = ("" if part == "network_config" else _CLOUD_CONFIG) + as_yaml(value)
    meta = cloud_init.get("meta_data", {})
    rest = _digest({**texts, "meta-data": meta if isinstance(meta, str) else as_yaml(meta)})
    identity = cloud_init.get("instance_id") or (f"{uuid}-{rest[:_DIGITS]}" if cloud_init.get("rerun") else uuid)
    texts["meta-data"] = _meta_data(meta, {"instance-id": identity, "local-hostname": _hostname(name)})
    return {file: text.encode() for file, text in sorted(texts.items())}


def label(files: t.Mapping[str, bytes]) -> str:
    """What says of a seed, inside it, from which files it was made. Programs write it in capitals in any case."""
    return f"maqet seed {_RECIPE} {_digest({name: data.decode() for name, data in files.items()})}".upper()


def own_instance_id(meta_data: t.Any) -> bool:
    """Whether the user's meta-data name the instance themselves."""
    return _has(meta_data, "instance-id")


def shown(cloud_init: t.Any) -> t.Any:
    """What may be seen of it by whoever sees a result: of each part whether it is another one than before."""
    if not isinstance(cloud_init, t.Mapping):
        return cloud_init if cloud_init is None else f"sha256:{_digest({'': str(cloud_init)})[:_DIGITS]}"
    return {
        key: value if key in ("instance_id", "rerun") or value is None else _part(value)
        for key, value in cloud_init.items()
    }


def without_secrets(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Options of a definition as they may be seen."""
    return {key: shown(value) if key == "cloud_init" else value for key, value in options.items()}


def _part(value: t.Any) -> str:
    try:
        text = value if isinstance(value, str) else as_yaml(value)
    except (TypeError, ValueError):  # it has not been checked yet, and will be refused
        text = repr(value)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGITS]}"


def _meta_data(given: t.Any, defaults: t.Mapping[str, str]) -> str:
    """The user's meta-data with the defaults for what they do not say. A text keeps its own lines."""
    if not isinstance(given, str):
        return as_yaml({**defaults, **given})
    missing = [f"{key}: {json.dumps(value)}\n" for key, value in defaults.items() if not _has(given, key)]
    return "".join(missing) + given


def _has(meta_data: t.Any, key: str) -> bool:
    if isinstance(meta_data, str):
        return re.search(rf"""^["']?{key}["']?\s*:""", meta_data, re.MULTILINE) is not None
    return key in meta_data


def _hostname(name: str) -> str:
    """The VM's name as one for its guest: what stands before the first dot is the host's, the rest its domain."""
    return name.replace("_", "-").rstrip("-.")


def _digest(texts: t.Mapping[str, str]) -> str:
    listed = json.dumps(sorted(texts.items()))
    return hashlib.sha256(listed.encode()).hexdigest()
