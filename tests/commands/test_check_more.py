"""The command `check`: guard rails, filtered files, room for checkouts, and the sign of life on the page."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deepspeech_wer import cli, clock, exit_codes, room
from deepspeech_wer.configuration import settings
from deepspeech_wer.jobs import sandbox
from tests.commands.test_check import LINE, found
from tests.commands.test_check import installed as installed  # the fixtures
from tests.commands.test_check import server as server
from tests.conftest import Repository
from tests.test_automation import tracked as tracked

BWRAP = "#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"


@pytest.mark.usefixtures("tracked")
def test_what_holds_jobs_back_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(capsys)["guards"].startswith("ok off (ds_job_nice, ")
    for name, value in (("nice", "5"), ("memory", "8G"), ("cpus", "1")):
        monkeypatch.setenv(f"ds_job_{name}", value)
    line = found(capsys)["guards"]
    assert line.startswith(f"ok nice 5, 1 of {len(os.sched_getaffinity(0))} processors, 8G of memory, ")


@pytest.mark.usefixtures("tracked")
def test_a_sandbox_that_works_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_job_sandbox", "bubblewrap")
    room = sandbox.Room(Path("/var"), [], Path("/var"))
    fault = sandbox.fault(settings.load().job.guards, room, os.environ)
    if fault:
        pytest.skip(fault)
    assert found(capsys)["guards"] == "ok a sandbox without network"
    monkeypatch.setenv("ds_job_network", "1")
    assert found(capsys)["guards"] == "ok a sandbox with network"


def test_a_machine_that_forbids_the_sandbox_is_told_and_no_merge_pays_for_it(
    tracked: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bwrap").write_text(BWRAP)
    (tmp_path / "bin" / "bwrap").chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{path}")
    monkeypatch.setenv("ds_job_sandbox", "bubblewrap")
    said = "ds_job_sandbox: bwrap: setting up uid map: Permission denied: this kernel or container forbids the sandbox"
    assert said in found(capsys, code=1)["guards"]
    assert cli.main([]) == exit_codes.TROUBLE
    assert said in capsys.readouterr().err
    assert not list(settings.load().places.runs.glob("*"))
    monkeypatch.delenv("ds_job_sandbox")
    assert cli.main([]) == exit_codes.DONE
    [run] = settings.load().places.runs.glob("*")
    assert tracked.git("rev-parse", "HEAD")[:12] in run.name


@pytest.mark.parametrize("place", [".gitattributes", "models/.gitattributes"])
def test_a_filter_that_crons_path_lacks_is_a_hint(
    tracked: Repository, installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    assert found(capsys)["filters"] == "ok not known before the first tick"
    assert cli.main([]) == 0
    assert found(capsys)["filters"] == "ok no file of the repository needs one"
    tracked.merge("Models", {place: "# filter=none\n*.pb filter=lfs diff=lfs -text\n*.key filter=git-crypt\n"})
    assert cli.main([]) == 0
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git-lfs", "git-crypt"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)
    installed.write_text(LINE)
    assert found(capsys, code=1)["filters"].startswith(
        "hint files have filter=git-crypt in .gitattributes, and git-crypt, git-lfs is not on the PATH that cron has"
    )
    installed.write_text(f"PATH={tools}:/usr/bin:/bin\n{LINE}")
    assert found(capsys, code=1)["filters"] == "ok git-crypt, lfs"


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(("free", "level"), [(9 << 30, "ok"), (7 << 30, "fault")])
def test_the_free_room_is_compared_with_the_checkouts_of_the_last_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free: int, level: str
) -> None:
    assert cli.main([]) == 0
    cache = settings.load().places.cache
    [measured] = room.last(cache, room.CLONES)
    assert 0 < measured < 1 << 20
    room.note(cache, 8 << 30, room.CLONES)
    assert room.last(cache) != []
    usage = shutil.disk_usage(cache)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    line = found(capsys, code=level == "fault")["checkout"]
    assert line.startswith(f"{level} ")
    assert "the last checkouts took up to 8.590 GB with what their jobs wrote" in line
    assert ("or set ds_clone_path" in line) is (level == "fault")


@contextmanager
def web(answers: dict[str, bytes]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = answers.get(self.path)
            self.send_response(404 if known is None else 200)
            self.send_header("Content-Length", str(len(known or b"")))
            self.end_headers()
            self.wfile.write(known or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as host:
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{host.server_port}/wer/"
        host.shutdown()
        thread.join()


def beat(ago_s: float) -> bytes:
    return f'window.WER_NOW={{"version":1,"looked_at":"{clock.stamp(clock.UTC, time.time() - ago_s)}"}};'.encode()


@pytest.mark.parametrize(
    ("served", "ours", "said"),
    [  # seconds ago; -1: served is something else
        (60, 60, "ok .* answers; the tracker last looked 20"),
        (60, None, "ok .* answers; the tracker last looked 20"),
        (9000, 9000, r"hint .* 2\.5 h ago: are the ticks running\?"),
        (9000, 60, "hint .* as visitors see it, and really 20.*: does a cache keep it"),
        (None, 60, "hint .*js/now.js answers 404: does the web server serve all of the web root"),
        (None, None, "hint .*js/now.js answers 404: the next tick that has nothing to do sends it"),
        (-1, None, "hint .*js/now.js cannot be read"),
    ],
)
@pytest.mark.usefixtures("tracked", "server")
def test_the_sign_of_life_is_looked_for_where_visitors_see_it(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    served: int | None,
    ours: int | None,
    said: str,
) -> None:
    answers = {"/wer/": b"page"}
    if served:
        answers["/wer/js/now.js"] = beat(served) if served > 0 else b"<html>"
    if ours:
        own = settings.load().places.site / "js/now.js"
        own.parent.mkdir(parents=True)
        own.write_bytes(beat(ours))
    with web(answers) as address:
        monkeypatch.setenv("ds_website_url", address)
        line = found(capsys)["page"]
    assert re.match(said, line), line


def test_a_page_is_asked_for_its_life_only_where_it_is_published(
    tracked: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracked.path.exists()
    with web({"/wer/": b"page"}) as address:
        monkeypatch.setenv("ds_website_url", address)
        assert found(capsys)["page"] == f"ok {address} answers"
