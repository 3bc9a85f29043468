"""Access to the tracked repository through git."""
