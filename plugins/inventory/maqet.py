# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The VMs of hypervisor hosts as inventory hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: maqet
short_description: VMs of hypervisor hosts as inventory hosts
version_added: 0.1.0
author:
  - The maqet.qemu authors (@maqet)
description:
  - Asks hypervisor hosts for their VMs, over each host's own connection and side by side, and makes each VM a host of
    the inventory.
  - The name of the file must end in C(maqet.yml) or C(maqet.yaml).
  - A host that does not answer costs its O(timeout) and a warning; the VMs of the others are there.
  - Every option may be a Jinja2 template, in which extra variables (C(-e)) are known. O(hostname), O(compose),
    O(groups) and O(keyed_groups) are expressions, in which the variables of the VM are known.
  - Each VM has the variables C(maqet_name), C(maqet_hypervisor), C(maqet_state) (as
    RV(maqet.qemu.maqet_vm_info#module:vms[].status)), C(maqet_uuid), C(maqet_labels), C(maqet_addresses),
    C(maqet_networks), C(maqet_forwards), C(maqet_memory) (MiB), C(maqet_cpus), C(maqet_arch), C(maqet_autostart),
    C(maqet_accel), C(maqet_qemu_version), C(maqet_restarts), C(maqet_error) and C(maqet_stale). What a definition
    does not manage, or what does not apply, is V(null). There are no secrets in them.
  - C(ansible_host) is set where a way to the guest is known.
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description:
      - The name of this plugin.
    type: str
    required: true
    choices: [maqet.qemu.maqet]
  hypervisors:
    description:
      - The hosts to ask. Each entry is the name of a host or a group in a source that was read before this one, a
        pattern such as V(lab*) of such names, or V(!) with one of these, which takes hosts away again.
      - An entry may also be a dictionary with C(name) and variables that begin with C(ansible_), for a host that is
        in no other source, or to say more of one that is. V(localhost) needs to be in none.
      - The variables of a host are those of its inventory, of C(group_vars) and C(host_vars) beside inventory
        sources, and extra variables. Those beside playbooks, and options of the command line such as C(-u) or C(-K),
        are not known here.
    type: list
    elements: raw
    required: true
  become:
    description:
      - Whether to become another user on the hypervisors. Left out, their own variables and the configuration say.
      - The VMs of the system are root's to see. A plain user sees its own.
    type: bool
  timeout:
    description:
      - Seconds that a hypervisor may take, from the call to its answer.
    type: int
    default: 15
  forks:
    description:
      - How many hypervisors are asked at a time.
    type: int
    default: 25
  addresses:
    description:
      - Whether to ask for the addresses of the guests. Each guest with an agent is asked then, which leaves an audit
        record.
    type: bool
    default: true
  address_families:
    description:
      - Which addresses C(ansible_host) may be, the preferred family first.
    type: list
    elements: str
    choices: [ipv4, ipv6]
    default: [ipv4, ipv6]
  address_sources:
    description:
      - Whose word on addresses counts for C(ansible_host), the preferred first. V(agent) is the guest itself,
        V(lease) a DHCP server on the hypervisor, V(neighbours) the hypervisor's table of who answered on the VM's
        bridge.
      - A guest that nobody should trust can say through V(agent) that it has the address of another machine.
    type: list
    elements: str
    choices: [agent, lease, neighbours]
    default: [agent, lease, neighbours]
  prefer_networks:
    description:
      - Of several addresses of a guest, C(ansible_host) is one in the first of these that has any. Each is a network
        such as V(192.0.2.0/24), the name of a bridge, or the id of a card, such as V(nic1).
    type: list
    elements: str
    default: []
  forwarded_ports:
    description:
      - Whether C(ansible_host) and C(ansible_port) are a port of the hypervisor that leads to the guest's port 22, if
        the guest has no address of its own that can be reached.
      - A port that listens on the hypervisor's loopback counts only where the hypervisor's connection is V(local).
    type: bool
    default: true
  hostname:
    description:
      - Jinja2 expression for the name of a VM in the inventory.
    type: str
    default: maqet_name
  on_collision:
    description:
      - What to do with VMs whose names cannot be used, since two hypervisors have one, or a host of another source or a
        hypervisor is called so.
      - With V(qualify) all of them are called C(NAME.HYPERVISOR), with a warning. Another VM may be the only one of
        its name once a hypervisor does not answer, so that it is called C(NAME) then.
      - With V(fail) that is an error. To have names that never change, write C(hostname=maqet_name ~ '.' ~
        maqet_hypervisor).
    type: str
    choices: [qualify, fail]
    default: qualify
  merge_hosts:
    description:
      - Whether a VM may be the host of the same name in another source, which gets its variables and groups. A
        hypervisor is never a VM.
      - Whoever may name VMs on a hypervisor then says where that host is.
    type: bool
    default: false
  group_prefix:
    description:
      - What the names of the groups that O(group_by) makes begin with. One of them, C(vms), has all VMs.
    type: str
    default: maqet_
  group_by:
    description:
      - Groups to make. V(state) makes such as C(maqet_running) and C(maqet_stopped), V(labels)
        C(maqet_label_KEY_VALUE), and V(hypervisor) C(maqet_on_HOST). Characters that a group's name cannot have
        become C(_).
    type: list
    elements: str
    choices: [state, labels, hypervisor]
    default: [state, labels, hypervisor]
  keep_unreachable:
    description:
      - Whether the VMs of a hypervisor that does not answer are taken from the cache, however old, with
        C(maqet_stale=true).
      - Needs O(cache) and a cache plugin that outlives the run, such as P(ansible.builtin.jsonfile#cache).
    type: bool
    default: false
notes:
  - The cache holds an entry for each hypervisor, and one that did not answer is asked again the next time.
  - While the hypervisors are asked, their connection variables, decrypted, are in a file of mode 0600 in a folder of
    mode 0700 below C(DEFAULT_LOCAL_TMP).
seealso:
  - module: maqet.qemu.maqet_vm_info
"""

EXAMPLES = r"""
# lab.maqet.yml: the VMs of all hosts of the group hypervisors, which hosts.yml has:
# ansible-inventory -i hosts.yml -i lab.maqet.yml --graph
plugin: maqet.qemu.maqet
hypervisors:
  - hypervisors
become: true

---
# A host that is in no other inventory, with a password from a variable of the environment
plugin: maqet.qemu.maqet
hypervisors:
  - name: lab1
    ansible_host: 192.0.2.10
    ansible_user: admin
    ansible_become_password: "{{ lookup('ansible.builtin.env', 'LAB1_PASSWORD') }}"
become: true
timeout: 10

---
# This machine; names that stay, groups by a label, and a cache for ten minutes that is also there for dead hosts
plugin: maqet.qemu.maqet
hypervisors:
  - localhost
hostname: maqet_name ~ '.' ~ maqet_hypervisor
prefer_networks:
  - 192.0.2.0/24
  - br-lab
keyed_groups:
  - key: maqet_labels.role | default('none')
    prefix: role
groups:
  small: (maqet_memory or 0) <= 512
compose:
  ansible_user: "'debian'"
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/maqet-inventory
cache_timeout: 600
keep_unreachable: true
"""

import re
import sys
import time
import typing as t

from ansible import constants
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.group import to_safe_group_name
from ansible.inventory.helpers import get_group_vars
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable, get_cache_plugin
from ansible.utils.unsafe_proxy import wrap_var
from ansible.utils.vars import combine_vars
from ansible.vars.plugins import get_vars_from_inventory_sources
from ansible_collections.maqet.qemu.plugins.plugin_utils import (
    inventory_hypervisors,
    inventory_kept,
    inventory_reading,
    inventory_vms,
    inventory_ways,
)

try:
    from ansible.template import trust_as_template
except ImportError:  # 2.18 distrusts only what it is told to

    def trust_as_template(value: str) -> str:
        """The same."""
        return value


Variables = t.Dict[str, t.Any]
_WORD = re.compile(r"[\w.:/-]*", re.ASCII)
# Options that are expressions, or that are templated for each host.
_NOT_TEMPLATED = ("plugin", "hypervisors", "hostname", "compose", "groups", "keyed_groups")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):  # type: ignore[misc]
    """Reads hypervisors, and gives Ansible what :mod:`inventory_vms` makes of their answers."""

    NAME = "maqet.qemu.maqet"

    def verify_file(self, path: str) -> bool:
        """By the name, so that no other plugin's file is taken for ours."""
        return bool(super().verify_file(path)) and path.endswith(("maqet.yml", "maqet.yaml"))

    def set_options(self, task_keys: t.Any = None, var_options: t.Any = None, direct: t.Any = None) -> None:
        """As every plugin, but each option may be a template."""
        if direct:
            self.templar.available_variables = self._vars or {}
            direct = {
                key: value if key in _NOT_TEMPLATED else self._templated(key, value) for key, value in direct.items()
            }
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)

    def parse(self, inventory: t.Any, loader: t.Any, path: str, cache: bool = True) -> None:
        """Add the VMs of the hypervisors that ``path`` names."""
        super().parse(inventory, loader, path, cache)
        try:
            self._read_config_data(path)
            self._fill(path, cache)
        except ValueError as error:
            raise AnsibleParserError(f"{path}: {error}") from error

    def _fill(self, path: str, cache: bool) -> None:
        self._check()
        hosts = {name: self._variables(name, own, path) for name, own in self._hypervisors().items()}
        found = self._entries(hosts, path, cache)
        vms = [(name, record, stale) for name, (entry, stale) in found.items() for record in entry["vms"]]
        variables = [inventory_vms.variables(record, name, stale) for name, record, stale in vms]
        names = self._names([(self._wanted(own), name) for own, (name, _record, _stale) in zip(variables, vms)], hosts)
        prefer = self._preference()
        places = {name: self._place(name, hosts[name]) for name in found}
        for host, own, (name, record, _stale) in zip(names, variables, vms):
            way = inventory_ways.way(record, prefer, places[name], self.get_option("forwarded_ports"))
            self._add(
                host,
                {**own, **way},
                inventory_vms.groups(record, name, self.get_option("group_prefix"), self.get_option("group_by")),
            )

    def _check(self) -> None:
        for option in ("timeout", "forks"):
            if self.get_option(option) < 1:
                raise ValueError(f"{option}: {self.get_option(option)} is too small. Give a whole number, 1 or more.")
        if self.get_option("keep_unreachable") and not self.get_option("cache"):
            raise ValueError(
                "keep_unreachable: nothing is kept without a cache. Write cache: true, and a cache_plugin."
            )

    # --- the hypervisors ---------------------------------------------------------------------------------------------

    def _hypervisors(self) -> dict[str, Variables]:
        self.templar.available_variables = self._vars or {}
        given: list[t.Any] = []
        for index, item in enumerate(self.get_option("hypervisors")):
            option = f"hypervisors[{index}]"
            if isinstance(item, t.Mapping):  # its variables are templated with the host's others
                given.append({**item, "name": self._templated(option, item.get("name"))})
            else:
                item = self._templated(option, item)
                given += item if isinstance(item, list) else [item]
        groups = {name: [host.name for host in group.get_hosts()] for name, group in self.inventory.groups.items()}
        return inventory_hypervisors.chosen(given, list(self.inventory.hosts), groups)

    def _variables(self, name: str, own: Variables, path: str) -> Variables:
        """All variables of a hypervisor as far as they are known here; none is templated yet."""
        host = self.inventory.hosts.get(name)
        found: Variables = {"inventory_hostname": name, "ansible_playbook_python": sys.executable}
        if host is not None:
            sources = [*self.inventory.processed_sources, path]
            groups = list({group.name: group for group in [self.inventory.groups["all"], *host.get_groups()]}.values())
            for level, entities in ((get_group_vars(groups), groups), (host.get_vars(), [host])):
                beside = get_vars_from_inventory_sources(self.loader, sources, entities, "all")
                found = combine_vars(combine_vars(found, level), beside)
        elif name == inventory_hypervisors.LOCALHOST:
            found = {**found, "ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        return t.cast(Variables, combine_vars(combine_vars(found, own), self._vars or {}))

    def _connection(self, name: str, variables: Variables) -> Variables:
        """What a connection to the host needs: its variables of that kind, decrypted and templated."""
        self.templar.available_variables = variables
        return {
            key: inventory_reading.plain(self._templated(f"hypervisor {name}: {key}", value))
            for key, value in variables.items()
            if key.startswith("ansible_")
        }

    def _place(self, name: str, variables: Variables) -> inventory_ways.Hypervisor:
        """Where its ports are. One whose variables cannot be templated has been warned of."""
        self.templar.available_variables = variables
        try:
            address, connection = (
                str(self._templated(f"hypervisor {name}: {key}", variables.get(key, default)))
                for key, default in (("ansible_host", name), ("ansible_connection", ""))
            )
        except ValueError:
            return inventory_ways.Hypervisor(name, False)
        return inventory_ways.Hypervisor(address, connection in ("local", "ansible.builtin.local"))

    def _templated(self, option: str, value: t.Any) -> t.Any:
        try:
            return self.templar.template(value)
        except AnsibleError as error:
            raise ValueError(f"{option}: cannot be templated: {error}") from error

    # --- their answers -----------------------------------------------------------------------------------------------

    def _entries(
        self, hosts: t.Mapping[str, Variables], path: str, cache: bool
    ) -> dict[str, tuple[inventory_kept.Entry, bool]]:
        """What each hypervisor has told, now or before, and whether that is what it would not tell now."""
        asked = {"become": self.get_option("become"), "addresses": self.get_option("addresses")}
        key = self.get_cache_key(path)
        kept = self._kept(key, asked)
        now = time.time()
        good = inventory_kept.fresh(kept, self.get_option("cache_timeout"), now) if cache else {}
        new = {
            name: inventory_kept.entry(vms, asked, now)
            for name, vms in self._read({name: own for name, own in hosts.items() if name not in good}).items()
        }
        if self.get_option("cache") and len(good) < len(hosts):  # somebody was asked
            unanswered = hosts.keys() - good.keys() - new.keys()
            self._cache[key] = {**inventory_kept.aged(kept, unanswered), **new}
            self.set_cache_plugin()
        found = {name: (entry, False) for name, entry in {**good, **new}.items()}
        if self.get_option("keep_unreachable"):
            found = {**{name: (entry, True) for name, entry in kept.items()}, **found}
        return {name: found[name] for name in hosts if name in found}

    def _kept(self, key: str, asked: Variables) -> dict[str, inventory_kept.Entry]:
        """What the cache holds. Its plugin would forget everything at once, so that we look at the times ourselves."""
        if not self.get_option("cache"):
            return {}
        options = {"_uri": self.get_option("cache_connection"), "_prefix": self.get_option("cache_prefix")}
        given = {name: value for name, value in options.items() if value is not None}
        self._cache = get_cache_plugin(self.get_option("cache_plugin"), _timeout=0, **given)
        return inventory_kept.sound(self._cache.get(key), asked)

    def _read(self, hosts: t.Mapping[str, Variables]) -> dict[str, list[inventory_vms.Record]]:
        """The records of the hypervisors that answer; a warning for each other."""
        connections, failed = {}, {}
        for name, variables in hosts.items():
            try:
                connections[name] = self._connection(name, variables)
            except ValueError as error:
                failed[name] = str(error)
        question = inventory_reading.Question(
            connections,
            *(self.get_option(option) for option in ("timeout", "forks", "become", "addresses")),
        )
        answers = inventory_reading.read(
            question, constants.DEFAULT_LOCAL_TMP, constants.COLLECTIONS_PATHS, constants.CONFIG_FILE
        )
        found = {}
        for name, result in answers.told.items():
            try:
                found[name] = inventory_vms.records(result.get("vms"))
            except ValueError as error:
                failed[name] = str(error)
        for name, why in {**failed, **answers.failed}.items():
            self.display.warning(f"maqet: the VMs of hypervisor {name} could not be read: {why}")
        return found

    # --- the VMs -----------------------------------------------------------------------------------------------------

    def _preference(self) -> inventory_ways.Preference:
        networks = [inventory_ways.network(text) for text in self.get_option("prefer_networks")]
        return inventory_ways.Preference(
            self.get_option("address_families"), networks, self.get_option("address_sources")
        )

    def _wanted(self, own: Variables) -> str:
        expression = self.get_option("hostname")
        if expression == "maqet_name":
            return str(own["maqet_name"])
        try:
            name = self._compose(expression, _untrusted(own))
        except AnsibleError as error:
            raise ValueError(
                f"hostname: {expression!r} cannot be evaluated for {own['maqet_name']}: {error}"
            ) from error
        if not isinstance(name, str) or not name:
            raise ValueError(f"hostname: {expression!r} gives {name!r} for {own['maqet_name']}, which is no name.")
        return str(name)

    def _names(self, wanted: t.Sequence[tuple[str, str]], hypervisors: t.Collection[str]) -> list[str]:
        taken = {*hypervisors, inventory_hypervisors.LOCALHOST}
        if not self.get_option("merge_hosts"):
            taken |= set(self.inventory.hosts)
        names = inventory_vms.settle(wanted, taken)
        for name, owners in names.met.items():
            what = "is the name of another host too" if name in taken else "is the name of several"
            text = (
                f"maqet: {name}, a VM of {', '.join(owners)}, {what}. For names that never meet: "
                "hostname: maqet_name ~ '.' ~ maqet_hypervisor"
            )
            if self.get_option("on_collision") == "fail":
                raise ValueError(text)
            self.display.warning(f"{text}. Until then: {', '.join(f'{name}.{owner}' for owner in owners)}.")
        return names.final

    def _add(self, host: str, variables: Variables, groups: t.Iterable[str]) -> None:
        """One VM. What it says of itself is never a template."""
        self.inventory.add_host(host)
        variables = _untrusted(variables)
        for key, value in variables.items():
            self.inventory.set_variable(host, key, value)
        for group in groups:
            self.inventory.add_child(self.inventory.add_group(to_safe_group_name(group, force=True, silent=True)), host)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host, strict=strict)


def _untrusted(value: t.Any) -> t.Any:
    """The same, in which no text is a template, or an expression, for any Ansible.

    Mere words can be neither: they stay as they are, since ``ansible-inventory --list`` would wrap them up otherwise.
    """
    if isinstance(value, dict):
        return {_untrusted(key): _untrusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_untrusted(item) for item in value]
    if not isinstance(value, str):
        return value
    value = inventory_reading.plain(value)
    return trust_as_template(value) if _WORD.fullmatch(value) else wrap_var(value)
