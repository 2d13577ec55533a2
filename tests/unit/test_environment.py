"""One environment: pyproject.toml, the two locks, constraints.txt, environment.yml and what is installed say the same."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import rattler
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from rainbow.settings import PROJECT_ROOT
from rainbow.stack.doctor import PYTHONS

PYPROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUNNING, TESTING = ((PROJECT_ROOT / f"requirements{kind}.lock").read_text(encoding="utf-8") for kind in ("", "-dev"))
ENVIRONMENT = yaml.safe_load((PROJECT_ROOT / "environment.yml").read_text(encoding="utf-8"))

GROUPS = PYPROJECT["dependency-groups"]
NEEDED = [Requirement(text) for text in (*PYPROJECT["project"]["dependencies"], *GROUPS["install"])]
ASKED_FOR = [*NEEDED, *map(Requirement, GROUPS["dev"])]
LEFT_OUT = {Requirement(text).name for text in PYPROJECT["tool"]["uv"]["override-dependencies"]}
SUPPORTED = [Version(f"3.{minor}") for minor in range(PYTHONS[0][1], PYTHONS[1][1] + 1)]


def entries(lock: str = RUNNING + TESTING) -> list[Requirement]:
    """What is locked, one entry a version; some have markers."""
    return [Requirement(line.rstrip(" \\")) for line in lock.splitlines() if line[:1].isalnum()]


def locked(lock: str = RUNNING + TESTING) -> dict[str, str]:
    """The versions that the locks give this Python on this system."""
    return {
        canonicalize_name(entry.name): str(entry.specifier).removeprefix("==")
        for entry in entries(lock)
        if entry.marker is None or entry.marker.evaluate()
    }


def needed_by(requirement: Requirement) -> Iterator[Requirement]:
    """What an installed package needs here, with the extras that were asked for."""
    for text in importlib.metadata.requires(requirement.name) or ():
        need = Requirement(text)
        if need.name not in LEFT_OUT and any(need.marker is None or need.marker.evaluate({"extra": e}) for e in {"", *requirement.extras}):
            yield need


def pip_lines() -> list[str]:
    (lines,) = (entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
    return lines


@pytest.mark.parametrize("python", SUPPORTED, ids=str)
@pytest.mark.parametrize("requirement", ASKED_FOR, ids=lambda r: r.name)
def test_the_lock_has_what_pyproject_asks_for(requirement: Requirement, python: Version) -> None:
    here = {"python_version": str(python), "python_full_version": f"{python}.9"}
    versions = [
        str(entry.specifier).removeprefix("==")
        for entry in entries()
        if canonicalize_name(entry.name) == canonicalize_name(requirement.name) and (entry.marker is None or entry.marker.evaluate(here))
    ]
    assert len(versions) == 1
    assert requirement.specifier.contains(versions[0], prereleases=True)


def test_each_entry_is_one_exact_version_with_hashes() -> None:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", (RUNNING + TESTING).strip())
    assert len(blocks) == len(entries()) > 200
    for block in blocks:
        first, *hashes = block.splitlines()
        assert re.match(r"[a-z0-9][a-z0-9._-]*==[^ ;]+( ; .+)? \\$", first), first
        assert hashes, first
        assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?", line) for line in hashes), first


@pytest.mark.parametrize(("asked_for", "lock"), [(NEEDED, RUNNING), (ASKED_FOR, RUNNING + TESTING)], ids=["running", "testing"])
def test_a_lock_holds_what_is_needed_and_nothing_else(asked_for: list[Requirement], lock: str) -> None:
    seen: set[tuple[str, frozenset[str]]] = set()
    ahead = list(asked_for)
    while ahead:
        requirement = ahead.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key not in seen:
            seen.add(key)
            ahead += needed_by(requirement)
    assert {name for name, _ in seen} == set(locked(lock))


def test_what_people_run_imports_nothing_that_only_tests_need() -> None:
    kept_apart = set(locked(TESTING))
    modules = {
        module for module, names in importlib.metadata.packages_distributions().items() if kept_apart >= set(map(canonicalize_name, names))
    }
    found = []
    for path in (path for package in ("rainbow", "api", "streaming") for path in (PROJECT_ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            found += [(path.name, name) for name in names if name.partition(".")[0] in modules]
    assert found == []


def test_what_is_installed_is_what_is_locked() -> None:
    differing = {}
    for name, version in locked().items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed != version:
            differing[name] = (installed, version)
    assert differing == {}, "make install"


def test_what_is_installed_has_its_bytecode() -> None:
    for name in ("altair", "duckdb", "ploomber", "pandas"):
        origin = importlib.util.find_spec(name)
        assert origin is not None
        assert origin.origin is not None
        assert Path(importlib.util.cache_from_source(origin.origin)).exists(), name


def test_the_constraints_are_the_lock_without_hashes() -> None:
    constraints = (PROJECT_ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(constraints) == sorted(line.rstrip(" \\") for line in (RUNNING + TESTING).splitlines() if line[:1].isalnum()), "make lock"


def test_conda_gets_the_same_pythons() -> None:
    specs = [rattler.MatchSpec(entry) for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    by_name = {str(spec).partition(" ")[0]: spec for spec in specs}
    assert set(by_name) == {"python", "pip"}
    assert SpecifierSet(str(by_name["python"].version)) == SpecifierSet(PYPROJECT["project"]["requires-python"])


def test_conda_gets_the_same_packages() -> None:
    options = [line for line in pip_lines() if line.startswith("-")]
    assert options == ["--constraint constraints.txt", "--editable ."]
    asked_for = [Requirement(line) for line in pip_lines() if not line.startswith("-")]
    assert {r.name for r in asked_for if not r.specifier} == {Requirement(text).name for text in (*GROUPS["install"], *GROUPS["dev"])}
    assert {r.name for r in asked_for if r.specifier} >= LEFT_OUT


def test_the_supported_pythons_are_the_same_everywhere() -> None:
    requires = SpecifierSet(PYPROJECT["project"]["requires-python"])
    assert [f"3.{minor}" for minor in range(5, 25) if requires.contains(f"3.{minor}")] == [str(python) for python in SUPPORTED]
    makefile = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"{PYTHONS[0]} <= sys.version_info[:2] <= {PYTHONS[1]}" in makefile
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{PYTHONS[0][0]}{PYTHONS[0][1]}"


@pytest.mark.skipif(not (PROJECT_ROOT / ".git").exists(), reason="not a git checkout")
def test_no_file_names_a_package_index_or_a_folder_of_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "--cached"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    hosts = configured_hosts()
    found = []
    for name in filter(None, listed.split("\0")):
        path = PROJECT_ROOT / name
        text = path.read_bytes().decode("utf-8", errors="ignore") if path.is_file() else ""
        found += [(name, match.group()) for match in FOREIGN.finditer(text)]
        found += [(name, host) for host in hosts if host in text]
    assert found == []


# a home or work folder, or an address that ends like an index
FOREIGN = re.compile(r"(?<![\w.}*-])/(?:home|Users|root|work)/[\w.-]+|https?://[^\s\"'<>]*/simple\b")


def configured_hosts() -> set[str]:
    """The hosts of the indexes that this machine's pip is configured with, but for the public one."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"://(?:[^/@\s]*@)?([^/:\s']+)", listed)) - {"pypi.org"}
