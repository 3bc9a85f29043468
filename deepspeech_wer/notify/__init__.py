"""Notifications about runs, each sent once: commit statuses on GitHub (`github`) and webhook messages (`webhook`).

`channels` lists them, `ledger` records what was sent, `message` holds the wording, `http` sends. A new kind of
notification is a module that makes a `Channel`, and a line in `channels`.
"""
