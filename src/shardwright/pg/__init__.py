"""Speaks to PostgreSQL; knows no tenant and no shard."""
