"""What is going on at the moment: transactions, prepared ones, moves."""

from __future__ import annotations

import re
from contextlib import closing

import psycopg
import pytest

from kit import until
from shardwright.move.preflight import long_transactions as long_ones
from shardwright.move.preflight import prepared_transactions as prepared_ones
from shardwright.move.preflight.long_transactions import long_transactions
from shardwright.move.preflight.open_move import open_move
from shardwright.move.preflight.prepared_transactions import prepared_transactions
from two_shards import Shards


def test_a_long_transaction(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """A young one is passed over; of an old one pid, age and query are told, and its end mends it."""
    with closing(psycopg.connect(shards.urls["source"], application_name="report")) as connection:
        connection.execute("SELECT count(*)   FROM tasks")
        assert shards.find(long_transactions) == []
        monkeypatch.setattr(long_ones, "LONG", 0.0)
        finding = shards.find_one(long_transactions)
        pid = connection.info.backend_pid
        assert re.search(rf"is \d+ s old: pid {pid} \(report, ", finding.fact)
        assert "idle in transaction: SELECT count(*) FROM tasks)" in finding.fact
        shards.mend(finding)
        until(lambda: not shards.sql("source", f"SELECT FROM pg_stat_activity WHERE pid = {pid}"))
        assert shards.find(long_transactions) == []


def test_a_prepared_transaction(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning while it is young, an error when it is forgotten; named with its quotes."""
    shards.sql("target", "BEGIN; DELETE FROM plans WHERE code = 'team'; PREPARE TRANSACTION 'it''s'")
    assert shards.find_one(prepared_transactions).severity == "warning"
    monkeypatch.setattr(prepared_ones, "FORGOTTEN", -1)
    finding = shards.find_one(prepared_transactions)
    assert finding.severity == "error"
    assert "transaction it's of" in finding.fact
    shards.mend(finding)
    assert shards.find(prepared_transactions) == []


def test_a_move_that_is_open(shards: Shards) -> None:
    """Of this tenant, on either shard; other tenants' moves are none of its business."""
    shards.sql("target", "CREATE SCHEMA shardwright")
    assert shards.find(open_move) == []
    shards.sql("target", "CREATE TABLE shardwright.move (move int PRIMARY KEY, side text, tenant text)")
    shards.sql("target", "INSERT INTO shardwright.move VALUES (7, 'source', '3')")
    assert shards.find(open_move) == []
    shards.sql("target", "INSERT INTO shardwright.move VALUES (8, 'target', '1')")
    finding = shards.find_one(open_move)
    assert finding.fact == "move 8 of tenant 1 is still open on target, which is its target"
    assert finding.cure == "shardwright move finish 1, or shardwright move undo 1"
