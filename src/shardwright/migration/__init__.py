"""Brings every shard to one revision: read, plan, execute, roll back."""
