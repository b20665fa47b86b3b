"""`serve`: the pages, /metrics and /health/shards, over the functions of Fleet."""
