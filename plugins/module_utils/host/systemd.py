from __future__ import annotations

import typing as t


class Manager:
    start: t.Any
    restart: t.Any
    forbid_restart: t.Any


def manager_of(where: t.Any) -> t.Optional[Manager]:
    return None


def env_file(values: t.Mapping[str, str]) -> str:
    return "".join(f'{k}="{v}"\n' for k, v in values.items())
