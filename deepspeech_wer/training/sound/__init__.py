"""From samples to features, and what varies the sound before. No module here knows the network or a batch."""
