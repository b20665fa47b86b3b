"""`seed`: the application's own function, or its SQL files, on every shard; each shard has its own result."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable

import pytest

from kit import MakeProject, Project, statuses
from shardwright import errors
from shardwright.runs.protocol import Order
from shardwright.runs.session import hold
from shardwright.testdata.plant import BadSeed, plant


@pytest.fixture
def make_seeded(make_project: MakeProject) -> Callable[..., Project]:
    """Makes a fleet whose shards have a table `things`, and the module app_seeds with this source."""

    def make(source: str, *, seed: str = "app_seeds:seed", shards: int = 1) -> Project:
        project = make_project(shards=shards, extra=f'seed = "{seed}"' if seed else "")
        for shard in project.shards:
            project.sql(shard, "CREATE TABLE things (name text UNIQUE)")
        (project.path / "app_seeds.py").write_text(textwrap.dedent(source))
        return project

    return make


def things(project: Project, shard: str = "shard_0") -> list[str]:
    return [row[0] for row in project.sql(shard, "SELECT name FROM things ORDER BY name")]


FUNCTIONS = {
    "session": """
        from sqlalchemy import text
        from sqlalchemy.orm import Session
        def seed(session: Session):
            assert isinstance(session, Session)
            session.execute(text("insert into things values ('here')"))
        """,
    "text annotation": """
        from __future__ import annotations
        import sqlalchemy as sa
        def seed(c: sa.Connection):
            assert isinstance(c, sa.Connection)
            c.exec_driver_sql("insert into things values ('here')")
        """,
    "connection by name": """
        import sqlalchemy as sa
        def seed(connection):
            assert isinstance(connection, sa.Connection)
            connection.exec_driver_sql("insert into things values ('here')")
        """,
    "shard": """
        from sqlalchemy import text
        def seed(session, where):
            assert (where.name, where.labels) == ("shard_0", {})
            session.execute(text("insert into things values ('here')"))
        """,
    "shard by keyword": """
        from sqlalchemy import text
        def seed(session, rows=1, *, shard):
            assert (rows, shard.name) == (1, "shard_0")
            session.execute(text("insert into things values ('here')"))
        """,
    "something else with a default": """
        from sqlalchemy import text
        def seed(session, rows=1, **more):
            assert (rows, more) == (1, {})
            session.execute(text("insert into things values ('here')"))
        """,
    "commits itself": """
        from sqlalchemy import text
        def seed(session):
            session.execute(text("insert into things values ('here')"))
            session.commit()
            session.execute(text("insert into things values ('too')"))
            session.rollback()
        """,
    "its own transaction": """
        from sqlalchemy import text
        def seed(session):
            with session.begin():
                session.execute(text("insert into things values ('here')"))
        """,
    "method": """
        from sqlalchemy import text
        class Seeds:
            @staticmethod
            def seed(session):
                session.execute(text("insert into things values ('here')"))
        seed = Seeds.seed
        """,
}


@pytest.fixture
def plant_here(monkeypatch: pytest.MonkeyPatch) -> Callable[[Project], None]:
    """What a worker does with one shard, in this process: most of a worker's time is its start."""

    def run(project: Project) -> None:
        monkeypatch.chdir(project.path)
        monkeypatch.syspath_prepend(project.path)
        monkeypatch.delitem(sys.modules, "app_seeds", raising=False)
        fleet = project.fleet()
        (shard,) = fleet.resolved.shards
        order = Order(shard, "", fleet.plan_seed(), "shardwright test", 1, 1000, 60_000, attempt=1)
        with hold(order, print) as session:
            plant(session)

    return run


@pytest.mark.parametrize("source", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_function_gets_what_it_asks_for(
    source: str, make_seeded: Callable[..., Project], plant_here: Callable[[Project], None]
) -> None:
    """A Session or a Connection, the shard or not, and a commit if it did none."""
    project = make_seeded(source)
    plant_here(project)
    assert things(project) == ["here"]


@pytest.mark.parametrize(
    ("seed", "source", "reason"),
    [
        ("nowhere.seeds:seed", "", "there is no module nowhere in "),
        ("app_seeds:sed", "def seed(session): ...", "has no attribute 'sed'"),
        ("app_seeds:VALUE", "VALUE = 5", "names no function"),
        ("app_seeds:seed", "import not_installed_here", "No module named 'not_installed_here'"),
        ("app_seeds:seed", "async def seed(session): ...", "it is async or a generator, so nothing ran"),
        ("app_seeds:seed", "def seed(session): yield", "it is async or a generator, so nothing ran"),
        ("app_seeds:seed", "def seed(): ...", "takes 0 positional arguments"),
    ],
)
def test_a_seed_that_cannot_be_run_is_explained(
    seed: str, source: str, reason: str, make_seeded: Callable[..., Project], plant_here: Callable[[Project], None]
) -> None:
    """Never a success that planted nothing."""
    with pytest.raises((BadSeed, ModuleNotFoundError, TypeError), match=reason):
        plant_here(make_seeded(source, seed=seed))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def seed(session): yield", "app_seeds:seed: BadSeed: it is async or a generator"),
        ("def seed(session) return", "SyntaxError: "),
        ("import sys\ndef seed(session): sys.exit(3)", "app_seeds:seed: SystemExit: 3"),
        ("import os\ndef seed(session): os._exit(3)", "its worker process ended unexpectedly (exit code 3)"),
    ],
)
def test_whatever_the_seed_does_the_shard_says_so(
    source: str, reason: str, make_seeded: Callable[..., Project]
) -> None:
    """It is the shard's result, with the name of the function where it came so far."""
    result = make_seeded(source).fleet().seed()
    assert statuses(result) == {"shard_0": "failed"}
    assert (result["shard_0"].error or "").startswith(reason)


def test_a_failing_shard_does_not_stop_the_others(make_seeded: Callable[..., Project]) -> None:
    """It is undone and named with what the server said; the others are seeded."""
    project = make_seeded(FUNCTIONS["session"], shards=3)
    project.sql("shard_1", "INSERT INTO things VALUES ('here')")
    result = project.fleet().seed()
    assert statuses(result) == {"shard_0": "seeded", "shard_1": "failed", "shard_2": "seeded"}
    assert result.exit_code == 1
    error = result["shard_1"].error or ""
    assert error.startswith("app_seeds:seed: ")
    assert "duplicate key value" in error


def test_a_failing_function_leaves_nothing(make_seeded: Callable[..., Project]) -> None:
    """One transaction a shard; what it had begun is not there, and its own words are the reason."""
    source = textwrap.dedent(FUNCTIONS["session"]) + "    raise RuntimeError('no more paper')\n"
    project = make_seeded(source)
    result = project.fleet().seed()
    assert result["shard_0"].error == "app_seeds:seed: RuntimeError: no more paper"
    assert things(project) == []


def test_sql_files_run_in_the_order_of_their_names(make_seeded: Callable[..., Project]) -> None:
    """All in one transaction a shard; several statements in a file, percent signs and dollar quotes are SQL's."""
    project = make_seeded("", seed="", shards=2)
    folder = project.path / "seeds"
    folder.mkdir()
    (folder / "2_more.sql").write_text("INSERT INTO things SELECT name || '%s' FROM things; -- 100 %")
    (folder / "1_first.sql").write_text(
        "INSERT INTO things VALUES ('a');\nDO $$ BEGIN INSERT INTO things VALUES ('{b}'); END $$;\n"
    )
    (folder / "3_empty.sql").write_text("-- nothing\n")
    (folder / "notes.txt").write_text("not SQL")
    assert project.fleet().seed().exit_code == 0
    assert things(project, "shard_1") == ["a", "a%s", "{b}", "{b}%s"]


@pytest.mark.parametrize("text", ["INSERT INTO missing VALUES (1)", "\\echo hi"])
def test_a_file_that_fails_is_named_and_all_are_undone(text: str, make_seeded: Callable[..., Project]) -> None:
    """Half of a seed is worse than none."""
    project = make_seeded("", seed="")
    (project.path / "seeds").mkdir()
    (project.path / "seeds" / "1.sql").write_text("INSERT INTO things VALUES ('first')")
    (project.path / "seeds" / "2.sql").write_text(text)
    result = project.fleet().seed()
    assert statuses(result) == {"shard_0": "failed"}
    assert (result["shard_0"].error or "").startswith("2.sql: ")
    assert things(project) == []


def test_a_file_that_commits_has_its_way(
    make_seeded: Callable[..., Project], plant_here: Callable[[Project], None]
) -> None:
    """As a function that commits: what stands before it stays, what stands behind it runs."""
    project = make_seeded("", seed="")
    (project.path / "seeds").mkdir()
    (project.path / "seeds" / "1.sql").write_text("BEGIN; INSERT INTO things VALUES ('a'); COMMIT;")
    (project.path / "seeds" / "2.sql").write_text("INSERT INTO things VALUES ('b')")
    plant_here(project)
    assert things(project) == ["a", "b"]


def test_the_function_goes_before_the_files(make_seeded: Callable[..., Project]) -> None:
    """What the configuration names is what is run."""
    project = make_seeded(FUNCTIONS["session"])
    (project.path / "seeds").mkdir()
    (project.path / "seeds" / "1.sql").write_text("INSERT INTO things VALUES ('file')")
    assert project.fleet().plan_seed()["function"] == "app_seeds:seed"
    project.fleet().seed()
    assert things(project) == ["here"]


def test_it_can_be_repeated_and_limited_to_some_shards(make_seeded: Callable[..., Project]) -> None:
    """Where the seed itself can; only the chosen shards are touched."""
    source = FUNCTIONS["session"].replace("'here')", "'here') on conflict do nothing")
    project = make_seeded(source, shards=2)
    assert [statuses(project.fleet().seed(shards="shard_1")) for _ in range(2)] == [{"shard_1": "seeded"}] * 2
    assert (things(project, "shard_0"), things(project, "shard_1")) == ([], ["here"])


def test_without_anything_to_run_nothing_is_begun(make_seeded: Callable[..., Project]) -> None:
    """The way to get a seed is told, and the ledger has no such run."""
    fleet = make_seeded("", seed="").fleet()
    for ask in (fleet.seed, fleet.plan_seed):
        with pytest.raises(errors.NoSeed) as refused:
            ask()
        assert refused.value.exit_code == 2
        assert "seeds/" in refused.value.hint
    assert fleet.runs() == []


def test_what_the_seed_prints_does_not_get_into_the_document(make_seeded: Callable[..., Project]) -> None:
    """--json is one document whatever user code does to stdout; with -v its words are on stderr."""
    project = make_seeded(
        """
        import os, sys
        print("module")
        def seed(session):
            print("PRINTED"); sys.stderr.write("written\\n"); os.write(1, b"RAW\\n")
        """
    )
    done = project.cli("seed", "--json", "-v")
    assert json.loads(done.stdout)["summary"] == {"seeded": 1}
    assert "PRINTED" in done.stderr
    assert "PRINTED" not in project.cli("seed").stdout + project.cli("seed").stderr


def test_a_dry_run_plants_nothing(make_seeded: Callable[..., Project]) -> None:
    """It tells what would be run where; neither shards nor ledger have changed."""
    project = make_seeded(FUNCTIONS["session"], shards=2)
    done = project.cli("seed", "--dry-run", "--shards", "shard_1")
    assert done.stdout == "would run app_seeds:seed on shard_1\n"
    assert things(project, "shard_1") == []
    assert project.fleet().runs() == []
