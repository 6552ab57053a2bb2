# SPDX-FileCopyrightText: 2026 The maqet.qemu authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of this project. `./dev` calls them in the environment that it has made (.dev/venv)."""

from __future__ import annotations

import argparse
import ast
import configparser
import fcntl
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path
from xml.etree import ElementTree as ET

import nox

ROOT = Path(__file__).resolve().parent
DEV = ROOT / ".dev"
COLLECTION = DEV / "collections" / "ansible_collections" / "maqet" / "qemu"  # a link to ROOT, made by ./dev
SANITY = DEV / "sanity"

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "sanity", "unit", "integration", "molecule", "chaos", "bench", "docs"]


def closing(text: str) -> None:
    """One line as pytest ends with, which `./dev test` repeats in its summary."""
    print(f"===== {text} =====", flush=True)


def project_files(*patterns: str) -> list[str]:
    """Files of the project as git sees them, new ones included, ignored and deleted ones not; relative to ROOT."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (ROOT / name).is_file())


# --- lint ------------------------------------------------------------------------------------------------------------


@nox.session
def lint(session: nox.Session) -> None:
    """Everything that reads the source and does not run it. Goes through all tools, then fails if one has."""
    # The plugins as on the oldest Python that they may meet on a host; the tests as on the one they run with.
    rooms = ("bench", "chaos", "guest/maqet_guest", "hosts", "integration", "unit")
    tests = [name for name in rooms if project_files(f"tests/{name}/*.py")]
    tools: dict[str, list[str]] = {
        "ruff check": ["ruff", "check", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "mypy of plugins": ["mypy", "--python-version", "3.9", str(COLLECTION / "plugins")],
        "mypy of tests": ["mypy", *(str(COLLECTION / "tests" / name) for name in tests)],
        "yamllint": ["yamllint", "--strict", "."],
        "ansible-lint": ["ansible-lint", "--offline", "--strict", "--nocolor"],
        "reuse": ["reuse", "lint", "--lines"],
        "shellcheck": ["shellcheck", "dev", ".ci/run"],  # ansible-test sanity looks at *.sh
    }
    # Not the user's: ansible-lint would look at the copy of this collection that molecule has installed there.
    lint_home = DEV / "lint-home"
    wanted = session.posargs or list(tools)
    failed = []
    for name in wanted:
        try:
            session.run(*tools[name], external=True, env={"ANSIBLE_HOME": str(lint_home)})
        except nox.command.CommandFailed:
            failed.append(name)
    closing(f"lint: {len(wanted) - len(failed)} of {len(wanted)} tools content" + "".join(f", not {n}" for n in failed))
    if failed:
        session.error(f"not content: {', '.join(failed)}")


# --- sanity ----------------------------------------------------------------------------------------------------------


class Controller(t.NamedTuple):
    """An ansible-core with the Python that runs it."""

    python: Path
    core: str


def real_pythons() -> dict[tuple[int, int], Path]:
    """Interpreters 3.8 and newer on this machine that can make environments, by version.

    A pyenv shim is no interpreter: it may fail, or be another one elsewhere. Each is asked what it really is.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = [
        Path(sys.prefix) / "bin",
        *map(Path, os.environ["PATH"].split(os.pathsep)),
        *pyenv.glob("versions/3.*/bin"),
    ]
    found: dict[tuple[int, int], Path] = {}
    ask = "import ensurepip, os, sys, venv; print(*sys.version_info[:2], os.path.realpath(sys.executable))"
    for folder in folders:
        for candidate in sorted(folder.glob("python3.*")):
            if not re.fullmatch(r"python3\.(8|9|\d\d)", candidate.name):
                continue
            said = subprocess.run([candidate, "-c", ask], check=False, capture_output=True, text=True)
            if said.returncode == 0:
                major, minor, path = said.stdout.strip().split(" ", 2)
                found.setdefault((int(major), int(minor)), Path(path))
    return found


def core_version(python: Path) -> str:
    """The ansible-core that this interpreter has; empty if none."""
    ask = "from importlib.metadata import version; print(version('ansible-core'))"
    return subprocess.run([python, "-c", ask], check=False, capture_output=True, text=True).stdout.strip()


def controllers(session: nox.Session, pythons: dict[tuple[int, int], Path]) -> list[Controller]:
    """An ansible-core of the oldest lines that we support, and the newest there is for a Python of this machine."""
    here = Controller(Path(sys.executable), core_version(Path(sys.executable)))
    wanted = {
        "old": (max((v for v in pythons if (3, 11) <= v <= (3, 13)), default=None), "ansible-core >=2.18, <2.20"),
        "new": (max(v for v in pythons if v >= (3, 11)), "ansible-core"),
    }
    found: dict[str, Controller] = {}
    for label, (version, requirement) in wanted.items():
        if version is None:
            session.log("no Python from 3.11 to 3.13 is here, so ansible-core 2.18 and 2.19 are not tried")
            continue
        is_old = here.core.startswith(("2.18.", "2.19."))
        if (label == "old" and is_old) or (label == "new" and version == sys.version_info[:2]):
            controller = here
        else:
            controller = extra_controller(session, DEV / f"ansible-{label}", pythons[version], requirement)
        found.setdefault(controller.core, controller)
    return list(found.values())


def extra_controller(session: nox.Session, folder: Path, python: Path, requirement: str) -> Controller:
    """A small environment with another ansible-core than ours; made once for each interpreter."""
    own, stamp = folder / "bin" / "python", folder / ".made-for"
    made_for = f"{python} {requirement}"
    if not stamp.is_file() or stamp.read_text("utf-8") != made_for:
        session.log(f"installing {requirement} for {python} into {folder.relative_to(ROOT)}")
        shutil.rmtree(folder, ignore_errors=True)
        session.run(str(python), "-m", "venv", str(folder), external=True)
        session.run(
            *(str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"),
            requirement,
            external=True,
        )
        stamp.write_text(made_for, "utf-8")
    return Controller(own, core_version(own))


def copy_collection() -> Path:
    """ansible-test wants a real folder of this name, and judges every file in it. Returns it."""
    target = SANITY / "ansible_collections" / "maqet" / "qemu"
    shutil.rmtree(target.parent.parent, ignore_errors=True)
    for name in project_files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    # Its own repository: ansible-test asks git for the files, and in ours this folder is ignored.
    subprocess.run(["git", "init", "--quiet", str(target)], check=True)
    return target


# Stands where ansible-test looks for get-pip.py before it downloads one, in a fresh environment without pip. It makes a
# dozen and a half of them. To install a pip takes ten seconds of work, so that it is done once for each Python, and
# then copied. The name tells what it is: of which pip, for which Python, with what else.
GET_PIP = """
import os, shutil, subprocess, sys, sysconfig
script, packages = os.environ.pop("GET_PIP"), sys.argv[1:]
packages = [word for word in packages if word not in ("--no-setuptools", "--no-wheel")]
kept = "-".join([script, sys.implementation.cache_tag, *(word for word in packages if not word.startswith("-"))])
here = sysconfig.get_path("purelib")
if not os.path.isdir(kept):
    subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-m", "pip", "install", *packages], check=True)
    shutil.rmtree(kept + ".new", ignore_errors=True)
    shutil.copytree(here, kept + ".new")
    os.rename(kept + ".new", kept)
shutil.copytree(kept, here, dirs_exist_ok=True)
"""


def sanity_home(controller: Controller) -> Path:
    """A home folder for ansible-test, which keeps its environments there and hands little of our variables on.

    It holds what makes pip work as it does here (index, proxy, certificates), and pip's bootstrap: ansible-test would
    download that from a host of its own, which fails behind many proxies.
    """
    home = SANITY / "home"
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    ask = "import ansible_test, pathlib; print(pathlib.Path(next(iter(ansible_test.__path__))))"
    package = subprocess.run([controller.python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    source = (Path(package) / "_internal" / "python_requirements.py").read_text("utf-8")
    versions = re.findall(r"pip='([\d.]+)'", source)
    if not versions:
        raise RuntimeError(f"ansible-core {controller.core} no longer says which pip it bootstraps; look at {package}")
    for version in versions:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP, "utf-8")

    config = configparser.RawConfigParser()
    config["global"] = {"quiet": "2"}
    bundle = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    if bundle:
        config["global"]["cert"] = bundle
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    for line in listed.splitlines():
        match = re.fullmatch(r"(?:global|install|:env:)\.([\w-]+)=(.*)", line)
        if match:
            config["global"][match.group(1)] = ast.literal_eval(match.group(2))
    pip_conf = home / ".config" / "pip" / "pip.conf"
    pip_conf.parent.mkdir(parents=True, exist_ok=True)
    pip_conf.touch(mode=0o600)
    with pip_conf.open("w", encoding="utf-8") as file:
        config.write(file)
    return home


def python_path(pythons: dict[tuple[int, int], Path]) -> str:
    """PATH for ansible-test: links to the real interpreters first, and no pyenv shims."""
    links = SANITY / "pythons"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    for (major, minor), path in pythons.items():
        (links / f"python{major}.{minor}").symlink_to(path)
    rest = [folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder).name != "shims"]
    return os.pathsep.join([str(links), *rest])


# ansible-test is content, too, when it finds nothing to test.
SANITY_ESSENTIAL = {"ansible-doc", "compile", "import", "pylint", "validate-modules", "yamllint"}


def sanity_results(folder: Path) -> tuple[set[str], dict[str, str]]:
    """From ansible-test's junit files: the tests that were run, and the reasons of those that were not, by name."""
    ran, skipped = set(), {}
    for path in folder.glob("*.xml"):
        for case in ET.parse(path).iter("testcase"):
            reason = case.find("skipped")
            if reason is None:
                ran.add(case.attrib["name"])
            else:
                skipped[case.attrib["name"]] = reason.text or ""
    return ran, skipped


# They take long, and say the same on every ansible-core, but for the Pythons that only an old one takes.
SANITY_LONG = ("import", "compile")


@nox.session
def sanity(session: nox.Session) -> None:
    """`ansible-test sanity` without ignore files, on each ansible-core and each target Python that is here.

    With ``--short`` an old ansible-core does what takes long on the oldest Python alone.
    """
    short = "--short" in session.posargs
    arguments = [word for word in session.posargs if word != "--short"]
    if any(ROOT.glob("tests/sanity/ignore*")):
        session.error("tests/sanity holds ignore files; mend what they hide")
    SANITY.mkdir(parents=True, exist_ok=True)
    with (SANITY / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run at once would take the folders away from the first
        pythons = real_pythons()
        session.log("Pythons: " + ", ".join(f"{path}" for _version, path in sorted(pythons.items())))
        counts, failed = [], []
        *olds, newest = controllers(session, pythons)
        for controller in (*olds, newest):
            runs = [arguments]
            if short and controller is not newest:
                oldest = ".".join(map(str, min(version for version in pythons if version >= (3, 9))))
                runs = [
                    [*arguments, *(word for test in SANITY_LONG for word in ("--skip-test", test))],
                    [*arguments, "--python", oldest, "--test", "import", "--test", "compile"],
                ]
            content, ran, skipped = ansible_test(session, controller, pythons, runs)
            session.log(
                "".join(f"\n  not run: {name}: {why}" for name, why in sorted(skipped.items())) or "all were run"
            )
            counts.append(f"{len(ran)} of {len(ran) + len(skipped)} tests on ansible-core {controller.core}")
            lacking = SANITY_ESSENTIAL - {re.sub(r"-python-3\.\d+$", "", name) for name in ran}
            if lacking and not arguments:
                session.warn(f"ansible-test did not run {', '.join(sorted(lacking))}")
            if not content or (lacking and not arguments):
                failed.append(controller.core)
    closing(f"sanity: {', '.join(counts)}" + (", not content" if failed else ""))
    if failed:
        session.error(f"not content: {', '.join(failed)}")


def ansible_test(
    session: nox.Session, controller: Controller, pythons: dict[tuple[int, int], Path], runs: list[list[str]]
) -> tuple[bool, set[str], dict[str, str]]:
    """`ansible-test sanity` with each of the arguments: whether all is well, and :func:`sanity_results`."""
    target, content = copy_collection(), True
    session.log(f"ansible-test sanity of ansible-core {controller.core}")
    for arguments in runs:
        try:
            with session.chdir(target):
                session.run(
                    str(controller.python.with_name("ansible-test")),
                    *("sanity", "--local", "--color", "no", "--junit", *arguments),
                    env={"HOME": str(sanity_home(controller)), "PATH": python_path(pythons)},
                    external=True,
                )
        except nox.command.CommandFailed:
            content = False
    return (content, *sanity_results(target / "tests" / "output" / "junit"))


# --- docs ------------------------------------------------------------------------------------------------------------

TOOLS = "ansible_collections.maqet.qemu.docs.tools"


@nox.session
def docs(session: nox.Session) -> None:
    """The parts of the guides that are made from the code, then the site, and all links of it. A warning is an error.

    ``--parts``: the parts alone.
    """
    env = {"PYTHONPATH": str(DEV / "collections")}
    session.run(sys.executable, "-m", f"{TOOLS}.generate", env=env, external=True)
    if "--parts" in session.posargs:
        return
    source, site = DEV / "docs" / "rst", DEV / "docs" / "html"
    shutil.rmtree(DEV / "docs", ignore_errors=True)
    source.mkdir(parents=True, mode=0o755)  # antsibull-docs wants a folder that nobody else can write
    session.run(
        *("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "--check-extra-docs-refs"),
        *("--validate-collection-refs", "self", str(COLLECTION)),
        external=True,
    )
    session.run(
        *("antsibull-docs", "--config-file", "docs/tools/sphinx/antsibull-docs.cfg", "collection", "--use-current"),
        *("--fail-on-error", "--squash-hierarchy", "--dest-dir", str(source), "maqet.qemu"),
        external=True,
    )
    # It copies pages alone, and leaves out what they show.
    shutil.copytree(ROOT / "docs/docsite/rst/images", source / "docsite" / "images")
    session.run(
        *("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "-c", "docs/tools/sphinx", str(source), str(site)),
        external=True,
    )
    session.run(sys.executable, "-m", f"{TOOLS}.links", str(site), env=env, external=True)
    session.run(
        *(sys.executable, "-m", "ansible_collections.maqet.qemu.tests.unit.docs.examples"), env=env, external=True
    )
    closing(f"docs: {len(list(site.rglob('*.html')))} pages, {site / 'index.html'}")


# --- tests -----------------------------------------------------------------------------------------------------------


def names_files(words: t.Sequence[str]) -> bool:
    """Whether arguments for pytest say which tests are to be run."""
    return any((ROOT / word.partition("::")[0]).exists() for word in words if not word.startswith("-"))


@nox.session
def unit(session: nox.Session) -> None:
    """Tests of single pieces, without QEMU; all of them unless files are named."""
    session.run("pytest", *([] if names_files(session.posargs) else ["tests/unit"]), *session.posargs, external=True)


# In two parts, which can run side by side.
_ELSEWHERE = [
    f"tests/integration/local/{name}"
    for name in (
        *("attacks", "test_guest.py", "test_guest_deeds.py", "test_networks.py", "test_secrets.py"),
        *("test_snapshot.py", "test_waits.py"),
    )
]
PARTS = {
    "here": ["tests/integration/local", *(f"--ignore={path}" for path in _ELSEWHERE)],
    "elsewhere": [*_ELSEWHERE, "tests/integration/hosts"],
}


@nox.session
def integration(session: nox.Session) -> None:
    """Tests that drive real QEMU, here and on hosts in systemd-nspawn.

    ``--part NAME``: one of two parts, without the tests that are marked as long: `./dev test` has 30 minutes.
    ``--arch NAME``: guests of that architecture, and unless files are named all the tests on this machine.
    """
    parser = argparse.ArgumentParser(prog="./dev integration", add_help=False, allow_abbrev=False)
    parser.add_argument("--part", choices=sorted(PARTS))
    parser.add_argument("--arch", choices=["aarch64", "x86_64"])
    wanted, rest = parser.parse_known_args(session.posargs)
    chosen = ["tests/integration"]
    if names_files(rest):
        chosen = []
    elif wanted.part:
        chosen = ["-o", f"cache_dir={DEV / 'pytest' / wanted.part}", "-m", "not long", *PARTS[wanted.part]]
    elif wanted.arch:
        chosen = ["tests/integration/local"]
    env = {"MAQET_TEST_ARCH": wanted.arch} if wanted.arch else {}
    session.run("pytest", *chosen, *rest, env=env, external=True)


@nox.session
def chaos(session: nox.Session) -> None:
    """What must hold, whatever breaks: tests/chaos, in a world of its own. It prints its own closing line."""
    session.run(
        *(sys.executable, "-m", "ansible_collections.maqet.qemu.tests.chaos", *session.posargs),
        env={"PYTHONPATH": str(DEV / "collections")},
        external=True,
    )


@nox.session
def bench(session: nox.Session) -> None:
    """How fast it is, next to bare QEMU and to others: tests/bench, in such a world. Prints its own closing line."""
    session.run(
        *(sys.executable, "-m", "ansible_collections.maqet.qemu.tests.bench", *session.posargs),
        env={"PYTHONPATH": str(DEV / "collections")},
        external=True,
    )


@nox.session
def molecule(session: nox.Session) -> None:
    """Scenarios of extensions/molecule on hosts in systemd-nspawn, those named or all. Prints its own closing line."""
    session.run(
        *(sys.executable, "-m", "ansible_collections.maqet.qemu.tests.hosts.scenarios", *session.posargs),
        env={"PYTHONPATH": str(DEV / "collections")},
        external=True,
    )
