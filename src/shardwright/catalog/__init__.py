"""What exists and where: the control database's record of shard sets, shards and tenants."""
