"""The tracked repository, seen through git."""
