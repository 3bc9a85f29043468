"""How a run went, told to others, each once: a commit status at GitHub (`github`), a message to a webhook (`webhook`).

`channels` knows them all, `ledger` keeps what was told, `message` words it, `http` posts it. A new kind of notice is a
module of its own that makes a `Channel`, and a line in `channels`.
"""
