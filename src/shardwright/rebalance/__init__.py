"""Which tenants to move where so that shards are evenly loaded, and the run that moves them."""
