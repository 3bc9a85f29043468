"""The lock in the web root, without a server."""

from __future__ import annotations

import struct

import pytest

from deepspeech_wer.publish import web_root_lock as lock
from deepspeech_wer.sftp import pipeline
from deepspeech_wer.sftp.pipeline import Refused, string

FAILURE, NO_SUCH_FILE, DONE = (
    pipeline.Packet(pipeline.STATUS, struct.pack(">I", code) + string("") + string(""))
    for code in (pipeline.FAILURE, pipeline.NO_SUCH_FILE, pipeline.OK)
)
HANDLE = pipeline.Packet(pipeline.HANDLE, string(b"h"))


class Anywhere:
    """As much of a web root as a lock needs."""

    server = "host"

    def path(self, path: str) -> str:
        return path


@pytest.mark.parametrize("vanished", [0, 1, 3])
def test_a_lock_given_back_while_it_is_looked_at_is_taken(vanished: int) -> None:
    answers = iter([FAILURE, NO_SUCH_FILE] * vanished + [HANDLE, DONE])
    taken: list[bytes] = []
    task = lock._take(Anywhere(), lock.this_process(), taken)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        next(task)
        while True:
            task.send([next(answers)])
    assert taken == [string(b"h")]
    assert next(answers, None) is None


def test_a_lock_that_cannot_be_made_is_told() -> None:
    task = lock._take(Anywhere(), lock.this_process(), [])  # type: ignore[arg-type]
    next(task)
    with pytest.raises(Refused):  # which WebRoot.run turns into Trouble
        for answer in [FAILURE, NO_SUCH_FILE] * 20:
            task.send([answer])
