# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx makes the site of what antsibull-docs has written; `./dev docs` calls both."""

from __future__ import annotations

import re
import typing as t

from docutils import nodes

project = "maqet.qemu"
copyright = "2026, the maqet.qemu authors"
title = html_title = html_short_title = "maqet.qemu: QEMU virtual machines with Ansible"

extensions = ["sphinx_antsibull_ext"]
default_role = "any"
nitpicky = True  # a reference that leads nowhere is a warning, and a warning an error

pygments_style = "ansible"
highlight_language = "YAML+Jinja"

html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_smartypants = True
html_use_modindex = False
html_use_index = False
html_copy_source = False

# The site is built without the net, so that Ansible's own inventory of labels cannot be asked (intersphinx). These few
# are all that antsibull-docs and our pages refer to.
ANSIBLE = "https://docs.ansible.com/ansible/latest/"
LABELS = {
    "action_plugins": "plugins/action.html#action-plugins",
    "ansible_configuration_settings": "reference_appendices/config.html#ansible-configuration-settings",
    "callback_plugins": "plugins/callback.html#callback-plugins",
    "common_return_values": "reference_appendices/common_return_values.html#common-return-values",
}
_PLUGIN = re.compile(r"ansible_collections\.(\w+)\.(\w+)\.(\w+)_(\w+?)(?:__.*)?")
_VARIABLE = re.compile(r"ANSIBLE_(INVENTORY_)?CACHE\w*")


def elsewhere(target: str) -> str | None:
    """Address of what a label, a plugin or a variable of Ansible's own documentation stands for; None for others."""
    plugin = _PLUGIN.fullmatch(target)
    if plugin is not None and plugin.group(1, 2) != ("maqet", "qemu"):
        return "{}collections/{}/{}/{}_{}.html".format(ANSIBLE, *plugin.groups())
    if _VARIABLE.fullmatch(target):
        return f"{ANSIBLE}reference_appendices/config.html#envvar-{target}"
    return ANSIBLE + LABELS[target] if target in LABELS else None


def _resolve(_app: t.Any, _env: t.Any, node: t.Any, content: t.Any) -> t.Any:
    address = elsewhere(node["reftarget"])
    return address and nodes.reference("", "", content, internal=False, refuri=address)


def setup(app: t.Any) -> None:
    """Called by Sphinx."""
    app.connect("missing-reference", _resolve)
