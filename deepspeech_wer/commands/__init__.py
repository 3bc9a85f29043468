"""What is typed by hand: `parser` knows every word, the other modules hold one function for each, which prints and
returns its exit code. A new command is a function in `inspect` (it tells something), `act` (it changes what runs) or
`site` (it is about the page), and a line in `parser`.
"""
