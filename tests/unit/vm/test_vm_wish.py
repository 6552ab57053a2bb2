# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to what is asked of a VM."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.definition.options import SPEC
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError
from ansible_collections.maqet.qemu.plugins.module_utils.vm.wish import concealed, desired


def params(**given: t.Any) -> dict[str, t.Any]:
    return {**{name: entry.get("default") for name, entry in SPEC.items()}, "name": "web", **given}


@pytest.mark.parametrize(
    ("given", "option", "value"),
    [
        ({"name": "a/b"}, "name", "a/b"),
        ({"name": "n" * 200}, "name", "n" * 200),
        ({"name": ""}, "name", ""),
        ({"name": ".."}, "name", ".."),
        ({"name": "web\n"}, "name", "web\n"),
        ({"memory": "banana"}, "memory", "banana"),
        ({"memory": "0"}, "memory", "0"),
        ({"memory": "-1G"}, "memory", "-1G"),
        ({"cpus": -5}, "cpus", -5),
        ({"cpus": 0}, "cpus", 0),
        ({"arch": "vax"}, "arch", "vax"),
        ({"machine": "q35,accel=kvm"}, "machine", "q35,accel=kvm"),
        ({"kernel": "relative"}, "kernel", "relative"),
        ({"timeout": -1.0}, "timeout", -1.0),
        ({"stop_timeout": -1.0}, "stop_timeout", -1.0),
        ({"wait_for": ["forever"]}, "wait_for[0]", "forever"),
        ({"wait_for": [{"serial": "("}]}, "wait_for[0].serial", "("),
    ],
)
def test_values_that_cannot_be(given: dict[str, t.Any], option: str, value: t.Any) -> None:
    with pytest.raises(MaqetError) as caught:
        desired(params(**given))
    assert caught.value.error_code == "invalid_option"
    assert caught.value.details == {"option": option, "value": value}
    assert str(caught.value).startswith(f"{option}: {value!r} ")


def test_what_is_left_out_is_not_managed() -> None:
    wanted = desired(params())
    assert (wanted.state, wanted.given, wanted.waits) == ("present", {}, [])
    assert (wanted.allow_restart, wanted.purge, wanted.patience.force) == (False, False, False)


def test_what_may_be_shown() -> None:
    assert concealed({"memory": "1G"}) == {}
    shown = concealed({"vnc": {"password": "tr0ub4dor"}, "cloud_init": {"user_data": "secret", "rerun": True}})
    assert set(shown) == {"vnc", "cloud_init"}
    assert "tr0ub4dor" not in str(shown) and "secret" not in str(shown)
