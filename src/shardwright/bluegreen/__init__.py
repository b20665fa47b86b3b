"""A new shard set beside the old one, and a switch nobody notices."""
