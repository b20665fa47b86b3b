"""Rows from shard to shard: which belong to a tenant, and in what order they travel."""
