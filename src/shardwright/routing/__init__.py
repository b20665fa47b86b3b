"""For the application: sessions by tenant, on the shard where it is, also right after it has moved."""
