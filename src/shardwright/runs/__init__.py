"""Work on many shards: one job per shard in worker processes, results, events, the ledger."""
