"""Which tenants to move where, so that every shard carries its share; and the moves, made."""
