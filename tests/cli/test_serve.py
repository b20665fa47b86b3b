"""`shardwright serve`: where it listens, for whom, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import sys
from pathlib import Path

import httpx2
import pytest

from cli.conftest import Cli
from kit import MakeProject, Project, until
from shardwright.web.serve import ServeOptions
from web.stage import TOKEN


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return make_project(shards=1)


def test_it_answers_and_ends_when_asked(project: Project) -> None:
    """Ctrl-C, with a page open that listens: exit 0 within seconds, and nothing on stderr."""
    process = project.start_cli("serve", "--port", "0")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line + process.stderr.read()
        assert httpx2.get(found[0] + "/healthz", timeout=20).text == "ok\n"
        until(lambda: httpx2.get(found[0] + "/health/shards", timeout=20).status_code == 200)
        with httpx2.stream("GET", found[0] + "/events", timeout=20) as page:
            assert next(page.iter_lines()) == "retry: 2000"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_a_port_that_is_taken_is_told(project: Project, cli: Cli) -> None:
    """With a cure, and exit 2."""
    del project
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = cli("serve", "--port", str(port))
    assert outcome.code == 2
    assert f"127.0.0.1 port {port}: Address already in use" in outcome.err
    assert "--port 0" in outcome.err


@pytest.mark.parametrize(("arguments", "code", "told"), [
    (["--host", "0.0.0.0"], 2, "anybody could read the fleet there"),  # noqa: S104 it refuses
    (["--host", "nowhere.invalid", "--public"], 2, "nothing can listen on nowhere.invalid"),
    (["--token", "short"], 64, "fewer than 16 characters"),
    (["--private"], 64, "--private needs a token"),
    (["--token-file", "none"], 64, "none can't be read"),
])  # fmt: skip
def test_what_would_not_be_safe_is_refused(
    project: Project, cli: Cli, arguments: list[str], code: int, told: str
) -> None:
    """Before anything listens, with the reason."""
    del project
    outcome = cli("serve", *arguments)
    assert outcome.code == code
    assert told in outcome.err
    assert "try: " in outcome.err


def test_without_its_packages_it_says_which_to_install(
    project: Project, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are an extra."""
    del project
    monkeypatch.setitem(sys.modules, "shardwright.web", None)
    outcome = cli("serve")
    assert outcome.code == 2
    assert "pip install 'shardwright[web]'" in outcome.err


def test_a_token_file_has_the_token_in_its_first_line(project: Project, cli: Cli, tmp_path: Path) -> None:
    """An empty one is refused, not taken for none."""
    del project
    (tmp_path / "token").write_text("\n")
    outcome = cli("serve", "--token-file", "token")
    assert outcome.code == 64
    assert "no token in its first line" in outcome.err


@pytest.mark.parametrize(("host", "token", "private", "asks"), [
    ("127.0.0.1", None, None, False), ("127.0.0.1", TOKEN, None, False), ("127.0.0.1", TOKEN, True, True),
    ("localhost", TOKEN, None, False), ("::1", TOKEN, None, False), ("127.0.0.5", TOKEN, None, False),
    ("0.0.0.0", TOKEN, None, True), ("10.1.1.1", TOKEN, None, True), ("::", TOKEN, None, True),  # noqa: S104
    ("db.example", TOKEN, None, True), ("0.0.0.0", TOKEN, False, False),  # noqa: S104
])  # fmt: skip
def test_who_reads_signs_in_where_others_reach_it(
    host: str, token: str | None, private: bool | None, asks: bool
) -> None:
    """Unless it is said otherwise."""
    assert ServeOptions(host, token=token, is_private=private).asks_readers is asks
