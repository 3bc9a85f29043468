"""What TensorFlow writes while it starts, and when a worker is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GREETING = """\
I0000 00:00:1795495315.857514    2056 cudart_stub.cc:31] Could not find cuda drivers on your machine
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
2025-09-17 14:44:05.157831: I external/local_xla/xla/tsl/cuda/cudart_stub.cc:32] Could not find cuda drivers
E0000 00:00:1795495321.217834    2056 cuda_platform.cc:52] failed call to cuInit: INTERNAL: UNKNOWN ERROR (303)
"""
ERROR = "E0000 00:00:1795495321.217834    2056 cuda_dnn.cc:1] Could not create cudnn handle\n"
CODE = """
import os, sys
from deepspeech_wer.training.quiet import quiet_start
with quiet_start():
    os.write(2, sys.argv[1].encode())
    {inside}
print("after", file=sys.stderr)
"""


def run(said: str, inside: str = "pass", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CODE.format(inside=inside), said]
    path = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, env=path | environment, check=False)


def test_start_up_messages_are_dropped_and_errors_are_not() -> None:
    assert run(GREETING + ERROR).stderr == ERROR + "after\n"


def test_the_last_messages_of_an_abort_are_not_lost() -> None:
    done = run(GREETING + ERROR, "os.abort()")

    assert done.returncode < 0
    assert done.stderr == ERROR


def test_the_user_s_log_level_has_precedence() -> None:
    assert run(GREETING, TF_CPP_MIN_LOG_LEVEL="0").stderr == GREETING + "after\n"


def test_without_grep_nothing_is_dropped(tmp_path: Path) -> None:
    assert run(GREETING, PATH=str(tmp_path)).stderr == GREETING + "after\n"


def test_nothing_follows_the_last_words_though_a_thread_goes_on_writing() -> None:
    code = """if True:
        import os, threading, time
        from deepspeech_wer.training.quiet import last_words

        def chatter():
            while True:
                os.write(2, b"recvmsg: Connection reset by peer\\n")

        threading.Thread(target=chatter, daemon=True).start()
        time.sleep(0.1)
        last_words("interrupted: worker 1 is gone")
        time.sleep(0.1)
        os._exit(75)
    """
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, check=False)
    said = done.stderr.splitlines()
    assert (done.returncode, said[0], said[-1]) == (
        75,
        "recvmsg: Connection reset by peer",
        "interrupted: worker 1 is gone",
    )
