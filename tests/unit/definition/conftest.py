# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one check that all bad input has in common."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.errors import MaqetError

Refused = t.Callable[..., MaqetError]


@pytest.fixture(scope="session")
def refused() -> Refused:
    """``refused(option, function, *arguments)``: the function names this option, the value and a remedy."""

    def check(option: str, function: t.Callable[..., t.Any], *arguments: t.Any) -> MaqetError:
        with pytest.raises(MaqetError) as caught:
            function(*arguments)
        error = caught.value
        assert error.error_code == "invalid_option"
        assert error.details["option"] == option
        message = str(error)
        assert message.startswith(f"{option}: {error.details['value']!r} ")
        problem, _dot, remedy = message.rpartition(". ")
        assert problem and remedy[0].isupper() and message.endswith("."), message
        json.dumps(error.as_dict())
        return error

    return check
