"""README.md and docs/ know every setting, command, notebook and make target that exists, and none that does not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from rainbow.cli import api, data, partitions, reconcile, runs, schedule, stack
from rainbow.settings import PROJECT_ROOT, Settings

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {page: page.read_text(encoding="utf-8") for page in (PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").glob("*.md")))}
TEXT = "\n".join(PAGES.values())
NOTEBOOKS = sorted(
    str(path.relative_to(PROJECT_ROOT)) for path in (PROJECT_ROOT / "notebooks").rglob("[!.]*.ipynb") if "/." not in str(path)
)
TARGETS = re.findall(r"^([a-z]+):.*## ", (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def commands() -> dict[str, Any]:
    app = typer.Typer()
    for module in (stack, data, runs, partitions, schedule, api, reconcile):
        module.add_to(app)
    return dict(typer.main.get_group(app).commands)


def command_lines() -> list[str]:
    """Each call of the command line that stands in a block of code or between backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL))
    calls = (re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(rainbow [a-z].*)", line) for line in lines)
    return sorted({call.group(1) for call in calls if call})


def settings_table() -> dict[str, str]:
    """Setting and default, as docs/settings.md gives them."""
    rows = re.findall(r"^\| `(RAINBOW_\w+)` \| (?:`(.*?)`)? ?\| \S.* \|$", PAGES[PROJECT_ROOT / "docs" / "settings.md"], flags=re.MULTILINE)
    assert len(rows) == len(dict(rows))
    return dict(rows)


def test_every_setting_is_described_with_its_default() -> None:
    expected = {
        f"RAINBOW_{name.upper()}": "" if field.default is None else str(field.default) for name, field in Settings.model_fields.items()
    }
    assert settings_table() == expected


def test_every_setting_that_is_named_exists() -> None:
    assert set(re.findall(r"\bRAINBOW_[A-Z_]+[A-Z]", TEXT)) - {"RAINBOW_NAME"} <= set(settings_table())


@pytest.mark.parametrize("name", commands())
def test_every_command_s_help_has_an_example_that_it_takes(name: str) -> None:
    command = commands()[name]
    examples = re.findall(rf"^\s*(rainbow {name}\b.*?)(?:\s{{3,}}\S.*)?$", command.help, flags=re.MULTILINE)
    assert examples
    for example in examples:
        command.make_context(name, shlex.split(example)[2:], resilient_parsing=False)


@pytest.mark.parametrize("name", commands())
def test_every_command_is_mentioned(name: str) -> None:
    assert re.search(rf"\brainbow {name}\b", TEXT)


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_can_be_run_as_it_stands(line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    assert name in commands()
    if arguments and arguments != ["--help"]:
        commands()[name].make_context(name, arguments)


@pytest.mark.parametrize("path", NOTEBOOKS)
def test_every_notebook_is_mentioned(path: str) -> None:
    assert path in TEXT


def test_every_notebook_that_is_mentioned_exists() -> None:
    assert set(re.findall(r"notebooks/[\w/]+\.ipynb", TEXT)) <= set(NOTEBOOKS)


def test_every_make_target_is_mentioned_and_exists() -> None:
    assert set(re.findall(r"`make ([a-z]+)", TEXT)) | set(re.findall(r"^make ([a-z]+)", TEXT, flags=re.MULTILINE)) == set(TARGETS)


def test_the_readme_opens_with_the_two_commands() -> None:
    (block,) = re.findall(r"^```\w*\n(.*?)^```", README.split("\n## ")[0], flags=re.MULTILINE | re.DOTALL)[:1]
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        assert target.startswith("https://") or (page.parent / target).exists(), target
