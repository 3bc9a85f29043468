"""What is asked of this machine: its processes, locks, signals, kernel and processor."""
