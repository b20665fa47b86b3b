"""A task tracker for many organizations, each of them whole on one shard."""
