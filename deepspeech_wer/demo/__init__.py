"""The whole cycle on this machine alone: sample repository, speech, training, SFTP server, published page.

Everything lies in one directory, and removing that removes it. A call goes on from where the last one stopped or was
killed. The package: `place` (paths and environment), `sample` (the repository), `server` (the web host), `cycle` (from
first to last).
"""

from __future__ import annotations


def run(directory: str, *, port: int, serve: bool) -> int:
    """Bring the demo in `directory` up to date; with `serve`, show its page until Ctrl-C. The exit code."""
    from deepspeech_wer.demo import cycle  # the import that loads asyncssh

    return cycle.run(directory, port=port, serve=serve)
