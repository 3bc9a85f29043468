"""The whole cycle on this machine alone: sample repository, speech, training, SFTP server, published page.

Everything lies in one directory; remove it to remove the demo. A call continues where the last one stopped or was
killed. The modules: `place` (paths and environment), `sample` (the repository), `sftp_server` (the web host), `cycle`
(from start to end).
"""
