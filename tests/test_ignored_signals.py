"""Signals that whoever started the tracker had ignored, as `nohup` and `&` of a script do, stay ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.test_automation import TICK, tick, wers
from tests.test_automation import tracked as tracked  # the fixture
from tests.waiting import until

WAITS = """
import os, signal, sys
from deepspeech_wer.machine import signals
signals.catch()
for number in sys.argv[1:]:
    os.kill(os.getpid(), int(number))
print(signals.count())
"""


@pytest.mark.parametrize("ignored", [(), (signal.SIGHUP,), (signal.SIGINT,), (signal.SIGHUP, signal.SIGINT)])
def test_what_is_ignored_asks_for_no_end_and_sigterm_always_does(ignored: tuple[signal.Signals, ...]) -> None:
    def ignore() -> None:
        for number in (*ignored, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    sent = [str(int(number)) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)]
    done = subprocess.run(
        [sys.executable, "-c", WAITS, *sent], capture_output=True, text=True, check=True, preexec_fn=ignore, timeout=60
    )
    assert int(done.stdout) == 3 - len(ignored)


def test_a_tick_under_nohup_outlives_its_terminal(tracked: Repository, sealed: Path) -> None:
    assert tick() == 0
    tracked.merge(
        "slow", {"wer": f"touch {sealed}/started; while [ ! -e {sealed}/go ]; do sleep 0.05; done; wer=0.4\n"}
    )
    with subprocess.Popen(["nohup", *TICK], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until((sealed / "started").exists)
        os.kill(process.pid, signal.SIGHUP)
        until(lambda: (settings.load().places.cache / "tick.json").exists())
        (sealed / "go").touch()
        assert process.wait(timeout=120) == 0
    assert wers() == [0.5, 0.4]
