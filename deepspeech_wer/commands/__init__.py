"""The commands that people type. `parser` defines them all; the other modules hold one function per command.

The function prints its output and returns the exit code. A new command is a function in `inspect` (shows something),
`act` (changes what runs) or `site` (handles the page), and a line in `parser`.
"""
