"""Shardwright looks after the data of sharded multi-tenant PostgreSQL applications."""

__version__ = "0.1.0"
