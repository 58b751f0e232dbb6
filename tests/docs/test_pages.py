"""Markdown pages agree with the code: links, settings, tensors, commands, the tree in README."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import click
import pytest
import typer

from docs.words import ROOT, tracked
from frontend.settings import Settings
from toolkit.cli import app

PAGES = [each for each in tracked() if each.endswith(".md") and not each.startswith("model_repo")]
COMMANDS = [each for each in PAGES if each.startswith(("README", "docs/guides", "docs/concepts"))]
README = (ROOT / "README.md").read_text()
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", [each for each in PAGES if "containers" not in each])
def test_links_resolve(page: str) -> None:
    for link in _LINK.findall((ROOT / page).read_text()):
        if link.startswith(("http", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), link


@pytest.mark.parametrize("page", PAGES)
def test_settings_exist(page: str) -> None:
    names = {name.upper() for name in Settings.model_fields}
    for name in re.findall(r"TRITON_FRONTEND_([A-Z][A-Z0-9_]*[A-Z0-9])", (ROOT / page).read_text()):
        assert name in names, name


def test_the_concept_names_tensors_of_the_contract() -> None:
    contract = (ROOT / "python_backends" / "README.md").read_text()
    rows = re.findall(r"^\| `\w+` \|.*$", (ROOT / "docs/concepts/contract.md").read_text(), re.M)
    assert rows
    for name in re.findall(r"`(\w+)`", " ".join(rows)):
        assert f"`{name}`" in contract, name


def commands(page: str) -> Iterator[list[str]]:
    """The commands in a page's shell blocks as words, without what surrounds them."""
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        text = re.sub(r"<<'EOF'.*?^EOF$", "", block, flags=re.DOTALL | re.MULTILINE)
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||;|\|", line):
                if words := shlex.split(part, comments=True):
                    yield words


class MissingFile(Exception):
    """An option is valid except that its file does not exist here."""


def _parse(command: click.Command, arguments: list[str], context: click.Context) -> None:
    try:
        command.make_context("toolkit", arguments, parent=context)
    except click.BadParameter as error:
        if "does not exist" in error.message:
            raise MissingFile from error
        raise


@pytest.mark.parametrize("page", COMMANDS)
def test_toolkit_commands_parse(page: str) -> None:
    """Every option exists and has a valid value; files need not exist."""
    for name, *arguments in commands(page):
        if name != "toolkit":
            continue
        command, rest = typer.main.get_command(app), arguments
        context = click.Context(command, info_name="toolkit")
        while isinstance(command, click.Group) and rest:
            found = command.get_command(context, rest[0])
            assert found is not None, arguments
            command, rest = found, rest[1:]
        with suppress(MissingFile):
            _parse(command, list(rest), context)


@pytest.mark.parametrize("page", COMMANDS)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name, *arguments in commands(page):
        if name == "make":
            assert set(arguments) <= targets, arguments


@pytest.mark.parametrize("page", COMMANDS)
def test_no_command_writes_over_tracked_files(page: str) -> None:
    for words in commands(page):
        for option, value in pairwise(words):
            if option in {"--output", "-o"}:
                listed = subprocess.run(
                    ["git", "ls-files", "--", value], cwd=ROOT, capture_output=True, check=True
                )
                assert not listed.stdout, words


def test_the_tree_in_readme_is_complete() -> None:
    (tree,) = re.findall(r"## Files\n\n```\n(.*?)```", README, re.DOTALL)
    named = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    assert all((ROOT / name).exists() for name in named)
    tops = {each.partition("/")[0] for each in tracked() if not each.startswith(".")}
    assert tops - named <= {
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
        "pyproject.toml",
    }


def test_every_guide_and_concept_is_linked_from_readme() -> None:
    linked = set(_LINK.findall(README))
    for page in PAGES:
        if page.startswith(("docs/guides/", "docs/concepts/")):
            assert page in linked, page


def test_each_guide_says_what_to_do_when_it_does_not_work() -> None:
    for page in (ROOT / "docs" / "guides").glob("*.md"):
        headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
        assert headings[-1] == "If it does not work", page.name
        advice = page.read_text().rpartition("## If it does not work")[2]
        assert (
            len(re.findall(r"^(?:- |\| (?!-|you see|message|symptom))", advice, re.MULTILINE)) > 1
        ), page.name


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    entries = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    assert all(len(each.split("\n\n")[0].strip().splitlines()) <= 3 for each in entries)


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for folders, start in re.findall(r"^\| (`[^|]*`) \|[^|]*\| (`[^|]*`) \|$", text, re.MULTILINE):
        paths = re.findall(r"`([^`]+)`", folders)
        first = Path(paths[0]).parent if paths[0].endswith(".py") else Path(paths[0])
        for path in paths:
            assert any((ROOT / each / path).exists() for each in ("", "toolkit")), path
        for path in re.findall(r"`([^`]+)`", start):
            assert any((ROOT / each / path).exists() for each in (first, first.parent)), path
