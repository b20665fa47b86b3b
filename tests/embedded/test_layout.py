"""Where a project's local fleet lives, and how it grows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psycopg
import pytest

from shardwright.embedded import Layout, LocalFleet, state_directory
from shardwright.errors import LayoutCannotShrink, LayoutUnreadable


def test_shards_are_dealt_in_turn() -> None:
    """A new layout gives each cluster as many shards as the next."""
    layout = Layout().extended(shards=5, clusters=2)
    assert layout.clusters == ("cluster_0", "cluster_1")
    assert list(layout.shards.items()) == [
        ("shard_0", "cluster_0"),
        ("shard_1", "cluster_1"),
        ("shard_2", "cluster_0"),
        ("shard_3", "cluster_1"),
        ("shard_4", "cluster_0"),
    ]


def test_growing_moves_no_shard() -> None:
    """More shards and clusters: what was there stays where it is, the new shards fill the new cluster first."""
    before = Layout().extended(shards=4, clusters=2)
    after = before.extended(shards=7, clusters=3)
    assert {name: after.shards[name] for name in before.shards} == before.shards
    assert [after.shards[f"shard_{number}"] for number in (4, 5, 6)] == ["cluster_2", "cluster_2", "cluster_0"]
    assert before.extended(shards=4, clusters=2) == before


@pytest.mark.parametrize(("shards", "clusters", "fact"), [(3, 2, "4 local shards"), (4, 1, "2 local clusters")])
def test_shrinking_is_refused_with_the_way_to_do_it(shards: int, clusters: int, fact: str) -> None:
    """No shard is dropped by a smaller number; the error says what would."""
    layout = Layout().extended(shards=4, clusters=2)
    with pytest.raises(LayoutCannotShrink, match=fact) as caught:
        layout.extended(shards=shards, clusters=clusters)
    assert caught.value.hint == "shardwright dev down --destroy"


def test_a_layout_is_kept(home: Path) -> None:
    """What was created is loaded again, also after it grew; a refused change changes nothing."""
    assert LocalFleet.load(home / "state") is None
    LocalFleet.create(home / "state", shards=2, clusters=1)
    LocalFleet.create(home / "state", shards=3, clusters=2)
    with pytest.raises(LayoutCannotShrink):
        LocalFleet.create(home / "state", shards=1, clusters=2)
    loaded = LocalFleet.load(home / "state")
    assert loaded
    assert loaded.layout == Layout().extended(shards=2, clusters=1).extended(shards=3, clusters=2)


@pytest.mark.parametrize("text", ["", "[]", '{"clusters": []}', '{"clusters": ["a"], "shards": {"s": "b"}}'])
def test_a_broken_layout_is_named(home: Path, text: str) -> None:
    """It is never taken for an empty one, which would make the shards anew."""
    (home / "layout.json").write_text(text)
    with pytest.raises(LayoutUnreadable, match=r"layout\.json cannot be read"):
        LocalFleet.load(home)


def test_a_layout_that_names_other_folders_is_refused(home: Path) -> None:
    """A cluster's name is a name, not a path out of the state directory."""
    (home / "layout.json").write_text(json.dumps({"clusters": ["../elsewhere"], "shards": {}}))
    with pytest.raises(LayoutUnreadable, match=r"\.\./elsewhere"):
        LocalFleet.load(home)


def test_a_fleet_starts_stops_and_goes(home: Path) -> None:
    """Clusters start side by side, URLs lead to the right one, and destroy() leaves nothing."""
    fleet = LocalFleet.create(home / "state", shards=3, clusters=2)
    try:
        fleet.start()
        assert fleet.is_running()
        assert list(fleet.shard_urls) == ["shard_0", "shard_1", "shard_2"]
        for url in (fleet.control_url, *fleet.shard_urls.values()):
            parts = psycopg.conninfo.conninfo_to_dict(url)
            with psycopg.connect(url.replace(f"/{parts['dbname']}?", "/postgres?"), autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{parts["dbname"]}"'.encode())
            with psycopg.connect(url):
                pass
        with psycopg.connect(fleet.clusters[0].url("postgres")) as connection:
            names = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        assert names == {"control", "shard_0", "shard_2", "postgres", "template0", "template1"}
        fleet.stop()
        assert not any(cluster.is_running() for cluster in fleet.clusters)
    finally:
        fleet.destroy()
    assert not (home / "state").exists()


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """An ordinary user with a home and none of the variables."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(home))
    for name in ("SHARDWRIGHT_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("ordinary")
def test_state_lives_under_the_users_state_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$SHARDWRIGHT_STATE, else $XDG_STATE_HOME if it is a path at all, else ~/.local/state; nothing is made."""
    assert state_directory(home / "shop").parent == home / ".local/state/shardwright"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_directory(home / "shop").parent == home / ".local/state/shardwright"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "xdg"))
    assert state_directory(home / "shop").parent == home / "xdg/shardwright"
    monkeypatch.setenv("SHARDWRIGHT_STATE", str(home / "chosen"))
    assert state_directory(home / "shop").parent == home / "chosen"
    assert list(home.iterdir()) == []


@pytest.mark.usefixtures("ordinary")
def test_root_keeps_state_where_the_server_can_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's home is closed to the account its servers run under."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_directory(Path("/root/shop")).parent == Path("/var/lib/shardwright")


def test_two_checkouts_have_two_states_and_one_has_one(home: Path) -> None:
    """The path decides, resolved: the same name elsewhere is another project."""
    for checkout in ("one/my shop!", "two/my shop!"):
        (home / checkout).mkdir(parents=True)
    (home / "link").symlink_to(home / "one/my shop!")
    one, two = state_directory(home / "one/my shop!"), state_directory(home / "two/my shop!")
    assert one != two
    assert state_directory(home / "link") == one
    assert one.name.startswith("my-shop-")
