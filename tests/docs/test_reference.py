"""The pages say what the code says: generated parts are current, and every command shown exists."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from docs import script
from docs.script import ROOT
from shardwright import config
from shardwright.cli import commands  # noqa: F401 registers them
from shardwright.cli.app import app

REFERENCE = script.load("reference")
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.md"))]
_FENCE = re.compile(r"^```(?P<kind>\w*)[^\n]*\n(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(shardwright [^`]+)`")
_END = re.compile(r"\s*(?:;|&&|\||>|   |…|  #).*$")  # what follows is not the command's any more
_SAMPLES = {"ID": "1", "N": "1"}  # words that stand for a number


def fenced(page: Path, *kinds: str) -> Iterator[str]:
    return (found["body"] for found in _FENCE.finditer(page.read_text()) if found["kind"] in kinds)


def shown_commands(page: Path) -> Iterator[list[str]]:
    """The words of each `shardwright …` that a page shows, in its blocks and within its sentences."""
    lines = [
        line.strip().removeprefix("$ ") for body in fenced(page, "console", "sh", "") for line in body.splitlines()
    ]
    prose = _FENCE.sub("", page.read_text())
    for line in (*lines, *_INLINE.findall(prose)):
        bare = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", line)  # variables set for this one command
        if bare.startswith("shardwright ") and "COMMAND" not in bare:
            yield shlex.split(_END.sub("", bare), comments=True)[1:]


def parse(command: Any, words: list[str], parent: Any = None) -> None:
    """Raises what the command line raises for these words; runs nothing."""
    if not words and hasattr(command, "commands"):
        return  # a group by itself shows its help
    for option in command.params:
        if not option.expose_value:  # as --install-completion, which acts as soon as it is read
            option.callback = None
    try:
        context = command.make_context("shardwright", [_SAMPLES.get(word, word) for word in words], parent=parent)
    except typer.Exit:  # --help
        return
    rest = [*getattr(context, "_protected_args", ()), *context.args]
    if rest and hasattr(command, "commands"):
        _, below, rest = command.resolve_command(context, rest)
        parse(below, rest, context)


def id_of(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else " ".join(map(str, value))  # type: ignore[call-overload]


@pytest.mark.parametrize("page", REFERENCE.pages(), ids=id_of)
def test_the_reference_is_what_the_code_says(page: Path) -> None:
    """After a change to commands, keys or errors: `python scripts/reference.py`."""
    assert page.read_text() == REFERENCE.generate(page)


@pytest.mark.parametrize(
    "words", [list(words) for words in sorted({tuple(w) for page in PAGES for w in shown_commands(page)})], ids=id_of
)
def test_every_command_shown_exists(words: list[str]) -> None:
    """Whoever copies a command from a page is not told that there is no such option."""
    parse(typer.main.get_command(app), words)


def test_a_command_that_is_shown_is_not_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who runs these tests finds completion in the files of their shell."""
    for variable in ("HOME", "ZDOTDIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: ("bash", "/bin/bash"))
    parse(typer.main.get_command(app), ["--install-completion"])
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_does_not_exist_would_be_found(tmp_path: Path) -> None:
    """The check itself sees wrong commands and wrong options, in blocks and in sentences."""
    page = tmp_path / "page.md"
    page.write_text("```console\n$ shardwright migrate --shard a   # no\n```\nTry `shardwright migrat`.\n")
    for words in shown_commands(page):
        with pytest.raises(Exception, match="No such"):
            parse(typer.main.get_command(app), words)
    assert len(list(shown_commands(page))) == 2


def require_known_keys(name: str, section: dict[str, Any]) -> None:
    has_names = name.rsplit(".", 1)[-1] in ("shards", "tables", "back")
    for part in section.values() if has_names else [section]:
        assert set(part) <= set(config._keys(config._SECTIONS[name]))
        for below in part:
            if f"{name}.{below}" in config._SECTIONS:
                require_known_keys(f"{name}.{below}", part[below])


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_key_shown_exists(page: Path) -> None:
    """Whoever copies a piece of shardwright.toml is not told that a key is unknown."""
    for body in fenced(page, "toml"):
        tree = tomllib.loads(body)
        for name, section in tree.get("tool", {}).get("shardwright", tree).items():
            assert name in config._keys(config.Config)
            if name == "references":  # whose keys are names of columns
                assert all(map(config.parse_column, (*section.keys(), *section.values())))
            else:
                require_known_keys(name, section)


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_every_python_example_compiles(page: Path) -> None:
    """Whoever copies a piece of Python gets no SyntaxError."""
    for body in fenced(page, "python"):
        compile(body, str(page), "exec")
