"""Lint: what would block or break a busy shard is found before any is touched, and only that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kit import MakeProject, Project, statuses
from shardwright import errors
from shardwright.migration import squawk
from shardwright.migration.lint import Finding
from shardwright.migration.rules import RULES, Severity
from shardwright.runs.events import Event, Warned

CREATE = 'op.create_table("tasks", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("title", sa.Text))'
INDEX = 'op.create_index("tasks_title", "tasks", ["title"])'
CONCURRENT = """
with op.get_context().autocommit_block():
    op.create_index("tasks_title", "tasks", ["title"], postgresql_concurrently=True)
"""
RULE = "require-concurrent-index-creation"
GROW = "INSERT INTO tasks SELECT g, repeat('a long title ', 50) FROM generate_series(1, 16000) g"


@pytest.fixture
def offline(tmp_path: Path) -> Project:
    """A project whose databases are out of reach: lint needs none."""
    project = Project(tmp_path, "postgresql://nobody@127.0.0.1:1/control", {"a": "postgresql://nobody@127.0.0.1:1/a"})
    project.write()
    project.revision("0001", CREATE)
    return project


@pytest.fixture
def production(make_project: MakeProject) -> Project:
    """Two shards of a production fleet at 0001, whose next revision builds a plain index on tasks."""
    project = make_project(2, environment="production")
    project.revision("0001", CREATE)
    assert project.migrate().succeeded
    project.revision("0002", INDEX)
    return project


def rules(project: Project, **options: Any) -> list[tuple[str, str]]:
    return [(finding.revision, finding.rule) for finding in project.fleet().lint(**options).findings]


def comment(project: Project, revision: str, text: str) -> None:
    file = project.path / "migrations" / "versions" / f"{revision}.py"
    file.write_text(f"{file.read_text()}\n{text}\n")


def test_a_finding_names_the_file_the_rule_the_statement_and_the_cure(offline: Project) -> None:
    """Everything that is needed to mend it stands in the finding."""
    offline.revision("0002", INDEX)
    (finding,) = offline.fleet().lint().findings
    assert (finding.file, finding.rule) == ("migrations/versions/0002.py", RULE)
    assert finding.statement == "CREATE INDEX tasks_title ON tasks (title)"
    assert "postgresql_concurrently=True" in finding.cure
    assert finding.is_error


def test_what_is_done_as_the_cure_says_is_not_found(offline: Project) -> None:
    """An index built concurrently outside a transaction, a constraint that is validated later."""
    offline.revision("0002", CONCURRENT)
    offline.revision("0003", 'op.create_check_constraint("c", "tasks", "id > 0", postgresql_not_valid=True)')
    offline.revision("0004", 'op.execute("ALTER TABLE tasks VALIDATE CONSTRAINT c")')
    assert rules(offline) == []


def test_an_index_built_concurrently_in_a_transaction_is_found(offline: Project) -> None:
    """PostgreSQL would refuse it on every shard."""
    offline.revision("0002", 'op.create_index("i", "tasks", ["title"], postgresql_concurrently=True)')
    assert rules(offline) == [("0002", "ban-concurrent-index-creation-in-transaction")]


def test_a_table_that_the_same_revisions_create_is_harmless(offline: Project) -> None:
    """Since a revision: those after it are looked at together, and nobody uses a table that is not there yet."""
    offline.revision("0002", INDEX)
    offline.revision("0003", 'op.drop_column("tasks", "title")')
    assert rules(offline, since="base") == []
    assert rules(offline, since="0001") == [("0002", RULE), ("0003", "ban-drop-column")]


def test_one_thing_is_told_once(offline: Project) -> None:
    """squawk complains twice of a unique constraint; the complaint with the right cure stays."""
    offline.revision("0002", 'op.create_unique_constraint("u", "tasks", ["title"])')
    assert rules(offline) == [("0002", "disallowed-unique-constraint")]


def test_style_is_not_looked_at(offline: Project) -> None:
    """Integer keys, varchar and timestamps without zone are the application's own affair."""
    offline.revision("0002", 'op.add_column("tasks", sa.Column("at", sa.TIMESTAMP))')
    offline.revision("0003", 'op.add_column("tasks", sa.Column("name", sa.String(20)))')
    assert rules(offline) == []


def test_a_rule_is_allowed_by_option_by_configuration_and_by_comment(offline: Project) -> None:
    """Three places, the comment for its own file only; the reason may stand behind it."""
    offline.revision("0002", INDEX)
    assert rules(offline, allow=[RULE]) == []
    comment(offline, "0001", f"# shardwright: allow {RULE}")
    assert rules(offline) == [("0002", RULE)]
    comment(offline, "0002", f"# shardwright: allow ban-drop-table, {RULE}: the table is small")
    assert rules(offline) == []
    offline.revision("0003", INDEX.replace("tasks_title", "other"))
    offline.extra = f'[lint]\nallow = ["{RULE}"]'
    offline.write()
    assert rules(offline) == []


def test_a_rule_that_does_not_exist_is_named(offline: Project) -> None:
    """A misspelt rule would let nothing pass, silently."""
    with pytest.raises(errors.UsageError, match="did you mean ban-drop-table"):
        offline.fleet().lint(allow=["ban-drop-tables"])
    offline.extra = '[lint]\nallow = ["ban-drop-tables"]'
    offline.write()
    with pytest.raises(errors.BadValue, match=r"lint\.allow.*did you mean ban-drop-table"):
        offline.fleet().lint()


def test_a_revision_without_sql_is_named_as_not_linted(offline: Project) -> None:
    """What can't be looked at is not told as well."""
    offline.revision("0002", 'op.get_bind().execute(sa.text("SELECT 1")).scalar()')
    report = offline.fleet().lint()
    assert list(report.not_linted) == ["0002"]
    assert "reads" in report.not_linted["0002"]


def test_the_command_ends_with_1_on_errors_and_0_on_warnings(offline: Project) -> None:
    """For CI: no database is asked, the findings are on the screen and in the JSON."""
    offline.revision("0002", 'op.drop_column("tasks", "title")')
    assert offline.cli("lint", "--since", "0001").returncode == 0
    offline.revision("0003", 'op.alter_column("tasks", "id", type_=sa.Numeric)')
    shown = offline.cli("lint", "--since", "0001")
    assert shown.returncode == 1
    assert "✗ migrations/versions/0003.py: changing-column-type" in shown.stdout
    assert "2 revisions: 1 error, 1 warning" in shown.stdout
    found = json.loads(offline.cli("lint", "--since", "0001", "--json").stdout)["findings"]
    assert [each["severity"] for each in found] == ["warning", "error"]


def test_without_squawk_lint_says_how_to_install_it(offline: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The linter is an optional part."""
    monkeypatch.setattr("shardwright.migration.squawk.shutil.which", lambda *_, **__: None)
    with pytest.raises(errors.LinterMissing) as missing:
        offline.fleet().lint()
    assert missing.value.hint == "pip install 'shardwright[lint]'"


def test_a_squawk_that_gives_no_answer_is_an_error_of_its_own(offline: Project) -> None:
    """No findings and no answer are not the same."""
    (offline.path / ".squawk.toml").write_text("broken = [")
    with pytest.raises(errors.LinterUnusable, match="Configuration error"):
        offline.fleet().lint()


def test_in_production_an_error_about_a_large_table_stops_before_any_shard(production: Project) -> None:
    """One shard with a large table is enough; no run is begun; --allow lets it pass."""
    production.sql("shard_1", GROW)
    with pytest.raises(errors.LintFoundErrors, match=rf"0002\.py: {RULE}.*tasks has up to") as refused:
        production.migrate()
    assert refused.value.hint.endswith(f"--allow {RULE}")
    assert production.versions() == {"shard_0": ["0001"], "shard_1": ["0001"]}
    assert len(production.fleet().runs()) == 1
    assert production.migrate(allow=[RULE]).succeeded


def test_in_production_an_error_about_a_small_table_is_shown_as_a_warning(production: Project) -> None:
    """A young fleet is not held up by what takes a moment."""
    events: list[Event] = []
    result = production.migrate(on_event=events.append)
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert statuses(result) == {"shard_0": "migrated", "shard_1": "migrated"}
    assert "on every shard, so it is soon done" in warned.fact
    assert result.as_dict()["lint"]["findings"][0]["severity"] == "warning"


def test_a_required_column_stops_as_soon_as_there_is_a_row(production: Project) -> None:
    """It would fail there, however small the table is; on empty tables it is nothing."""
    production.migrate(allow=[RULE])
    production.revision("0003", 'op.add_column("tasks", sa.Column("a", sa.Integer, nullable=False))')
    assert production.migrate().succeeded
    production.sql("shard_0", "INSERT INTO tasks (id, a) VALUES (1, 1)")
    production.revision("0004", 'op.add_column("tasks", sa.Column("b", sa.Integer, nullable=False))')
    with pytest.raises(errors.LintFoundErrors, match="adding-required-field"):
        production.migrate()


def test_an_empty_shard_goes_through_the_whole_history(production: Project) -> None:
    """Nobody uses it yet, so nothing can be in anybody's way."""
    production.sql("shard_0", "DROP TABLE tasks; DROP TABLE alembic_version")
    production.sql("shard_1", GROW)
    assert production.migrate(shards="shard_0").succeeded


def test_a_dry_run_shows_what_would_stop_it(production: Project) -> None:
    """And ends with 1; nothing is changed."""
    production.sql("shard_1", GROW)
    shown = production.cli("migrate", "--dry-run")
    assert shown.returncode == 1
    assert f"✗ migrations/versions/0002.py: {RULE}" in shown.stdout


def test_in_development_errors_are_shown_and_stop_nothing(production: Project) -> None:
    """There the author reads them in time."""
    production.environment = "development"
    production.write()
    production.sql("shard_1", GROW)
    shown = production.cli("migrate")
    assert shown.returncode == 0
    assert f"! migrations/versions/0002.py: {RULE}" in shown.stdout


def test_without_squawk_production_goes_on_and_says_so_once(
    production: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is optional stops nothing; that it was not there is not kept quiet."""
    production.sql("shard_1", GROW)
    monkeypatch.setattr("shardwright.migration.squawk.shutil.which", lambda *_, **__: None)
    events: list[Event] = []
    assert production.migrate(on_event=events.append).succeeded
    (warned,) = [event for event in events if isinstance(event, Warned)]
    assert (warned.fact.split(":")[0], warned.cure) == ("the plan was not linted", "pip install 'shardwright[lint]'")


def test_lint_can_be_switched_off(production: Project) -> None:
    """`[lint] enabled = false`."""
    production.extra = "[lint]\nenabled = false"
    production.write()
    production.sql("shard_1", GROW)
    assert production.migrate().succeeded


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("ALTER TABLE tasks ADD COLUMN a int", (None, "tasks")),
        ('ALTER TABLE IF EXISTS ONLY App."Odd ""name" ALTER a SET NOT NULL', ("app", 'Odd "name')),
        ("CREATE UNIQUE INDEX CONCURRENTLY i\nON ONLY Tasks (a)", (None, "tasks")),
        ("DROP DATABASE other", None),
    ],
)
def test_the_table_of_a_statement_is_read(statement: str, table: tuple[str | None, str] | None) -> None:
    """As the catalog names it."""
    assert Finding("1", "1.py", RULE, Severity.ERROR, statement, "").table == table


def test_every_rule_is_one_of_squawk(tmp_path: Path) -> None:
    """A rule that squawk does not know would never be found: it refuses to leave out an unknown one."""
    known = [rule for rule in RULES if rule != "syntax-error"]
    (tmp_path / ".squawk.toml").write_text(f"excluded_rules = {json.dumps(known)}")
    said = squawk.complaints(["CREATE INDEX i ON tasks (title)"], project=tmp_path)
    assert RULE not in {complaint.rule for complaint in said}
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["no-such-rule"]')
    with pytest.raises(errors.LinterUnusable):
        squawk.complaints(["CREATE INDEX i ON tasks (title)"], project=tmp_path)
