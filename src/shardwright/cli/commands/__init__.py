"""One module for each group of commands; importing it registers them."""

from shardwright.cli.commands import check, data, dev, lint, move, runs, schema, shards, start, tables, tenants, worker

__all__ = ["check", "data", "dev", "lint", "move", "runs", "schema", "shards", "start", "tables", "tenants", "worker"]
