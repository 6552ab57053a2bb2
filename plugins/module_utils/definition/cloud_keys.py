# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of cloud-init: keys of its files, so that a misspelt one is found before a guest boots without it.

Source: cloud-init's documentation (modules, NoCloud, network configuration) and its schema-cloud-config-v1.json, from
22.4 to 25.1. A key that is not here is let through unless it looks like one that is: guests may have modules of their
own.
"""

from __future__ import annotations

#: Top-level keys of a cloud-config.
CLOUD_CONFIG = frozenset(
    """
    allow_public_ssh_keys allow_userdata ansible apk_repos apt apt_pipelining apt_reboot_if_required apt_update
    apt_upgrade authkey_hash autoinstall bootcmd byobu_by_default ca-certs ca_certs chef chpasswd cloud_config_modules
    cloud_final_modules cloud_init_modules create_hostname_file datasource datasource_list debug def_log_file
    device_aliases disable_ec2_metadata disable_root disable_root_opts disk_setup drivers fan final_message fqdn
    fs_setup groups growpart grub-dpkg grub_dpkg hostname keyboard landscape launch-index locale locale_configfile
    log_basedir log_cfgs lxd manage_etc_hosts manage_resolv_conf mcollective merge_how merge_type migrate
    mount_default_fields mounts no_ssh_fingerprints ntp output package_reboot_if_required package_update
    package_upgrade packages password phone_home power_state prefer_fqdn_over_hostname preserve_hostname puppet
    random_seed reporting resize_rootfs resolv_conf rh_subscription rpi rsyslog runcmd salt_minion snap spacewalk ssh
    ssh_authorized_keys ssh_deletekeys ssh_fp_console_blacklist ssh_genkeytypes ssh_import_id
    ssh_key_console_blacklist ssh_keys ssh_publish_hostkeys ssh_pwauth ssh_quiet_keygen swap syslog_fix_perms
    system_info timezone ubuntu_advantage ubuntu_pro unverified_modules updates user users vendor_data vendor_data2
    wireguard write_files yum_repo_dir yum_repos zypper
    """.split()
)
#: Those of them that must be lists: given another thing, their module fails in the guest, where nobody looks.
LISTS = ("bootcmd", "mounts", "packages", "runcmd", "ssh_authorized_keys", "write_files")
META_DATA = frozenset(
    ("instance-id", "local-hostname", "public-keys", "network-interfaces", "dsmode", "cloud-name", "availability-zone")
)
#: By version of the network configuration.
NETWORK = {
    1: frozenset(("version", "config")),
    2: frozenset(
        """
        version renderer config ethernets bonds bridges vlans vrfs wifis modems tunnels dummy-devices virtual-ethernets
        nm-devices openvswitch
        """.split()
    ),
}
#: Keys that have their place elsewhere, by the part in which they stand by mistake, with that place.
MISPLACED = {
    "user_data": {
        "network": "network_config",
        "ethernets": "network_config",
        "instance-id": "instance_id",
        "instance_id": "instance_id, beside user_data",
        "local-hostname": "meta_data, or write hostname",
        "user_data": "cloud_init",
        "meta_data": "cloud_init",
        "network_config": "cloud_init",
        "#cloud-config": "nowhere: a dictionary gets that line by itself",
    },
    "meta_data": {
        "hostname": "user_data, or write local-hostname",
        "instance_id": "instance_id, beside meta_data",
        "network": "network_config",
    },
}
MISPLACED["vendor_data"] = MISPLACED["user_data"]

#: With what a text must begin, in any case, for cloud-init to know what it is.
HEADERS = (
    "#cloud-config",  # also -archive and -jsonp
    "#!",
    "#include",  # also -once
    "#cloud-boothook",
    "#part-handler",
)
JINJA = "## template: jinja"
#: What makes it a mail with several parts, somewhere in the first 4096 characters.
MIME = "mime-version:"
