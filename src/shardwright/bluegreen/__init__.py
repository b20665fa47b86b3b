"""A new shard set beside the old one, kept in step; the switch of every tenant, and the way back."""
