"""The whole cycle on this machine alone: sample repository, speech, training, SFTP server, published page.

Everything lies in one directory, and removing that removes it. A call goes on from where the last one stopped or was
killed. The package: `place` (paths and environment), `sample` (the repository), `server` (the web host), `cycle` (from
first to last).
"""
