"""A new shard set beside the old one, kept in step with it; the switch, and the way back."""
