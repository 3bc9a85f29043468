"""Tells people of each change of state once: commit statuses on GitHub and GitLab, messages to a webhook, the log.

`channels` lists the receivers and tells them, `ledger` records what was told, `facts` is what there is to tell,
`statuses` and `message` hold the wording, `http` sends. A new kind of receiver is a module that makes a `Channel`, and
a line in `channels`.
"""
