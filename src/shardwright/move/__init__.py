"""One tenant to another shard, while it keeps working; and the way back."""
