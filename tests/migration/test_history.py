"""The history without a database: which steps lie between two states, across branches, merges and dependencies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kit import Project
from shardwright import errors
from shardwright.migration.history import History, ScriptLocation, State, newest_revisions


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder for a history; its databases do not exist."""
    project = Project(tmp_path, "postgresql://nowhere/control", {"shard_0": "postgresql://nowhere/shard_0"})
    project.write()
    return project


def load(project: Project) -> History:
    return History(ScriptLocation(project.path, project.path / "migrations", "alembic_version"))


def branched(project: Project) -> History:
    """r1 - r2 < left, right > merged - r5."""
    project.revision("r1")
    project.revision("r2")
    project.revision("left", down="r2")
    project.revision("right", down="r2")
    project.revision("merged", down=("left", "right"))
    project.revision("r5")
    return load(project)


@pytest.mark.parametrize(
    ("state", "earlier", "undone"),
    [
        (("r5",), ("r2",), {"r5", "merged", "left", "right"}),
        (("merged",), ("left", "right"), {"merged"}),
        (("merged",), ("left",), {"merged", "right"}),
        (("left", "right"), ("right",), {"left"}),
        (("r5",), (), {"r1", "r2", "left", "right", "merged", "r5"}),
        (("r2",), ("r2",), set()),
    ],
)
def test_the_way_back_undoes_just_what_came_since(
    project: Project, state: State, earlier: State, undone: set[str]
) -> None:
    """Back over a merge too, children before their parents, ending at exactly the earlier state."""
    history = branched(project)
    steps = history.return_to(state, earlier)
    order = [step.revision.revision for step in steps]
    assert set(order) == undone
    assert history.after(state, steps) == earlier
    for child in order:
        parents = history.ancestry([child]) - {child}
        assert all(order.index(child) < order.index(parent) for parent in parents & undone)


def test_there_is_no_way_back_to_what_the_shard_never_was(project: Project) -> None:
    """A state on another branch is refused, with both names."""
    with pytest.raises(errors.NoSuchRevision, match=r"'left'.*not an ancestor of right"):
        branched(project).return_to(("right",), ("left",))


def test_the_way_up_and_the_way_back_meet(project: Project) -> None:
    """Every state on the way up is where the way back from the head ends."""
    history = branched(project)
    for earlier in [(), ("r1",), ("r2",), ("left",), ("left", "right"), ("merged",)]:
        up = history.upgrade(earlier, "head")
        assert history.after(earlier, up) == ("r5",)
        assert {step.revision.revision for step in up} == {
            step.revision.revision for step in history.return_to(("r5",), earlier)
        }


def test_a_dependency_counts_as_applied(project: Project) -> None:
    """A revision that depends on one of another branch stands for both."""
    project.revision("a1")
    project.revision("b1", down=None)
    path = project.path / "migrations" / "versions" / "b1.py"
    path.write_text(path.read_text().replace("depends_on = None", "depends_on = 'a1'"))
    history = load(project)
    assert history.ancestry(["b1"]) == {"a1", "b1"}
    assert history.after((), history.upgrade((), "heads")) == ("b1",)


def test_a_downgrade_to_where_a_shard_is_or_will_be_is_no_step(project: Project) -> None:
    """`rollback --to r2` leaves a shard at r1 or r2 alone; one on another branch has no such way."""
    history = branched(project)
    assert history.downgrade(("r1",), "r2") == []
    assert history.downgrade(("r2",), "r2") == []
    assert len(history.downgrade(("left",), "r2")) == 1
    with pytest.raises(errors.NoSuchRevision):
        history.downgrade(("left",), "right")


def test_head_is_refused_where_there_are_several(project: Project) -> None:
    """`head` names the heads; `heads` takes them all."""
    project.revision("r1")
    project.revision("left", down="r1")
    project.revision("right", down="r1")
    history = load(project)
    with pytest.raises(errors.SeveralHeads, match="left, right"):
        history.resolve("head")
    assert history.resolve("heads") == ("left", "right")


@pytest.mark.parametrize("target", ["zzz", "", " ", "r1,r2"])
def test_a_name_that_is_no_revision_is_refused(project: Project, target: str) -> None:
    """The error names it, and the directory."""
    with pytest.raises(errors.NoSuchRevision, match="migrations") as refused:
        branched(project).resolve(target)
    assert repr(target) in str(refused.value)


def test_names_stand_for_full_ids(project: Project) -> None:
    """An unambiguous beginning is enough, `base` is nothing, and a relative name waits for a shard."""
    project.revision("4f2a1b9c")
    history = load(project)
    assert [history.resolve(name) for name in ("4f2a", "base", "+1")] == [("4f2a1b9c",), (), ("+1",)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError.*nothing_of_that_name.*broken.py, line 1"),
        ("def broken(:", "SyntaxError.*broken.py"),
        ("raise SystemExit(0)", "SystemExit.*broken.py, line 1"),
        ("revision = 'x'\ndown_revision = 'gone'", "gone"),
    ],
)
@pytest.mark.filterwarnings("ignore:Revision gone")
def test_a_revision_file_that_can_not_be_loaded_is_named(project: Project, text: str, words: str) -> None:
    """With the line; SystemExit in it does not end us."""
    (project.path / "migrations" / "versions" / "broken.py").write_text(text)
    with pytest.raises(errors.HistoryBroken, match=words):
        load(project)


def test_what_a_revision_file_prints_on_import_is_not_our_output(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes to stderr, where it breaks no JSON document."""
    path = project.path / "migrations" / "versions" / "loud.py"
    path.write_text("print('LOUD')\nrevision = 'loud'\ndown_revision = None\n")
    load(project)
    assert capsys.readouterr() == ("", "LOUD\n")


def test_a_folder_without_env_py_is_no_history(project: Project) -> None:
    """The error says what is missing."""
    (project.path / "migrations" / "env.py").unlink()
    with pytest.raises(errors.NoMigrations, match=r"no env\.py"):
        load(project)


def test_relative_places_in_alembic_ini_start_at_the_project(
    project: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the working directory is: modules beside the project, and revisions in several folders."""
    (project.path / "more").mkdir()
    (project.path / "names.py").write_text("NAME = 'far'")
    (project.path / "more" / "far.py").write_text("from names import NAME\nrevision = NAME\ndown_revision = None\n")
    ini = "[alembic]\npath_separator = os\nprepend_sys_path = .\nversion_locations = migrations/versions:more\n"
    (project.path / "alembic.ini").write_text(ini)
    project.revision("near")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load(project).heads == ("far", "near")


def test_whoever_asks_again_and_again_loads_no_file_twice(project: Project) -> None:
    """A watch asks every few seconds for weeks: the user's files run once, and again only when one is another."""
    loaded = project.path / "loaded"
    project.revision("r1")
    file = next((project.path / "migrations" / "versions").glob("*r1*.py"))
    file.write_text(f"with open({str(loaded)!r}, 'a') as file: file.write('x')\n{file.read_text()}")
    location = load(project).location
    loaded.write_text("")
    assert [newest_revisions(location) for _ in range(3)] == [("r1",)] * 3
    assert loaded.read_text() == "x"
    project.revision("r2")
    assert [newest_revisions(location) for _ in range(2)] == [("r2",)] * 2
    assert loaded.read_text() == "xx"
    (project.path / "migrations" / "env.py").unlink()
    with pytest.raises(errors.NoMigrations):
        newest_revisions(location)


def test_a_history_that_is_loaded_often_leaves_the_search_path_as_it_is(project: Project) -> None:
    """The project is in it once; one entry more each time would slow every import of a long process."""
    load(project)
    before = list(sys.path)
    load(project)
    assert sys.path == before
    assert sys.path.count(str(project.path)) == 1
