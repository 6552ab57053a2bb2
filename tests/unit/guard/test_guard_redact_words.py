# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a log says of QEMU's arguments."""

from __future__ import annotations

import pytest
from ansible_collections.maqet.qemu.plugins.module_utils.guard.redact_words import redact_words


@pytest.mark.parametrize(
    ("word", "clean"),
    [
        ("-device", "-device"),
        ("virtio-rng-pci,id=a,max-bytes=5", "virtio-rng-pci,id=a,max-bytes=5"),
        ("secret,id=a,data=hush", "secret,id=a,data=<redacted:4>"),
        ("secret,data=a,,b=c,id=a", "secret,data=<redacted:6>,id=a"),
        ("password=hush", "password=<redacted:4>"),
        ("isa-applesmc,osk=hush", "isa-applesmc,osk=<redacted:4>"),
        ("a,Password=,b=c", "a,Password=<redacted:0>,b=c"),
        ("name=opt/x,string=hush", "name=opt/x,string=<redacted:4>"),
        ("type=11,value=io.systemd.credential:a=hush", "type=11,value=<redacted:28>"),
        ("driver=curl,url=https://me:hush@host/x", None),
        (
            '{"qom-type": "secret", "id": "a", "data": "hush"}',
            '{"qom-type": "secret", "id": "a", "data": "<redacted:4>"}',
        ),
        ('{"a": [{"http-password": "hush"}]}', '{"a": [{"http-password": "<redacted:4>"}]}'),
        ('{"data": "hush"', "<redacted:15>"),
    ],
)
def test_words(word: str, clean: str | None) -> None:
    (made,) = redact_words([word])
    assert "hush" not in made
    assert clean is None or made == clean
