"""The command line: output and exit codes of every command."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import urllib.request
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from deepspeech_wer import archive, automation, cli, exit_codes
from deepspeech_wer.configuration import settings
from deepspeech_wer.dashboard.preview import preview
from deepspeech_wer.machine import lock
from tests.conftest import Repository
from tests.test_automation import TICK
from tests.test_automation import tracked as tracked  # the fixture


@pytest.fixture
def trained(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> Repository:
    """A tracked repository with one good and one failed run."""
    cli.main([])
    tracked.merge("broken <b>", {"wer": "exit 7\n"})
    cli.main([])
    capsys.readouterr()
    return tracked


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert cli.main(list(arguments)) == code
    return capsys.readouterr().out


@pytest.mark.usefixtures("trained")
def test_runs_lists_them_in_the_order_of_history(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "runs").splitlines()
    assert len(lines) == 2
    assert "50.00 %" in lines[0]
    assert "failed: exit 7" in lines[1]


def test_show_prints_one_run_in_full(trained: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "show", trained.git("rev-parse", "HEAD")[:9])
    assert "failed: exit 7: it wrote nothing to stderr" in text
    text = said(capsys, "show", trained.git("rev-list", "--max-parents=0", "HEAD")[:9])
    assert "results.test_wer" in text
    assert "parameters.n" in text


@pytest.mark.usefixtures("trained")
def test_show_reports_an_unknown_run_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "nope"]) == exit_codes.TROUBLE
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_status_shows_what_is_running(trained: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "status")
    assert "no tick is running" in text
    assert f"last_sha1: {trained.git('rev-parse', 'HEAD')}" in text
    assert "runs: 2" in text
    assert "site: up to date, not published" in text


@pytest.mark.usefixtures("trained")
def test_the_newest_run_of_a_second_is_the_last_in_the_history(capsys: pytest.CaptureFixture[str]) -> None:
    runs = settings.load().places.runs
    (first, second) = sorted(archive.load(runs), key=lambda run: run.merge.ordinal)
    (runs / first.id).rename(runs / "20260601-120000-ffffffffffff")
    (runs / second.id).rename(runs / "20260601-120000-000000000000")
    assert "newest:     2  20260601-120000-000000000000" in said(capsys, "status")


@pytest.mark.usefixtures("trained")
def test_status_survives_an_unreadable_run(capsys: pytest.CaptureFixture[str]) -> None:
    runs = settings.load().places.runs
    (runs / archive.names(runs)[-1] / "run.json").write_text("")
    text = said(capsys, "status")
    assert "newest: cannot be read: /" in text
    assert "site: up to date" in text


def test_status_reports_that_no_site_is_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert "site: none yet\n" in said(capsys, "status")


@pytest.mark.usefixtures("trained")
def test_an_unreadable_directory_is_not_reported_as_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = settings.load().places.runs

    scandir = os.scandir

    def refused(path: str | os.PathLike[str] = ".") -> Any:  # root may read everything
        if os.fspath(path) == str(runs):
            raise PermissionError(errno.EACCES, "Permission denied", str(runs))
        return scandir(path)

    runs.chmod(0o700)  # changes its time, as taking the right to read it does
    monkeypatch.setattr(os, "scandir", refused)
    for command in (["status"], ["runs"], []):
        capsys.readouterr()
        assert cli.main(command) == exit_codes.TROUBLE
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert f"{runs}: Permission denied: give this user access" in err


@pytest.mark.usefixtures("trained")
def test_status_names_the_holder_of_the_lock(capsys: pytest.CaptureFixture[str]) -> None:
    descriptor = lock.acquire(str(settings.load().places.cache / "lock"))
    assert descriptor is not None
    assert "a tick is running: process" in said(capsys, "status")
    assert cli.main(["build"]) == exit_codes.TROUBLE
    assert "a tick is running (process" in capsys.readouterr().err
    os.close(descriptor)


def test_settings_lists_every_variable_and_where_it_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_github_token", "s3cret")
    text = said(capsys, "settings")
    for variable in settings.VARIABLES:
        assert variable.name in text
    assert "s3cret" not in text


@pytest.mark.parametrize("word", ["build", "merge"])
@pytest.mark.usefixtures("trained")
def test_a_deleted_site_is_built_again(capsys: pytest.CaptureFixture[str], word: str) -> None:
    hyper_js = settings.load().places.site / "js" / "hyper.js"
    before = hyper_js.read_bytes()
    hyper_js.unlink()
    assert "2 runs merged into" in said(capsys, word)
    assert hyper_js.read_bytes() == before


@pytest.mark.usefixtures("trained")
def test_publishing_is_optional(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "publish").startswith("not publishing: ds_website_username, ds_website_privkey")


def test_a_dry_run_says_what_is_due_and_runs_nothing(trained: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "run", "--dry-run") == "nothing is due\n"
    tip = trained.git("rev-parse", "HEAD")
    assert said(capsys, "run", "--dry-run", "--sha", tip) == f"1 due; next: {tip[:12]} broken <b>\n"  # again
    trained.merge("next")
    assert "1 due; next: " in said(capsys, "run", "--dry-run")
    assert len(archive.names(settings.load().places.runs)) == 2


@pytest.mark.usefixtures("trained")
def test_serve_shows_the_site() -> None:
    with preview(str(settings.load().places.site), 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        with urllib.request.urlopen(url) as answer:
            assert b"js/index." in answer.read()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("port", ["99999", "-1", "web"])
def test_an_invalid_port_is_a_usage_error(capsys: pytest.CaptureFixture[str], port: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["serve", f"--port={port}"])
    assert f"expected a port from 0 to 65535, found '{port}'" in capsys.readouterr().err


def test_serve_without_a_site_names_the_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve"]) == exit_codes.TROUBLE
    assert "run `build`" in capsys.readouterr().err


def test_an_unknown_command_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["dance"])
    assert caught.value.code == exit_codes.USAGE


@pytest.mark.usefixtures("trained")
def test_a_bug_is_reported_with_traceback_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(automation, "tick", broken)
    assert cli.main([]) == exit_codes.BUG
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.usefixtures("trained")
def test_an_unexpected_permission_error_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/proc/1/mem")

    monkeypatch.setattr(automation, "tick", broken)
    assert cli.main([]) == exit_codes.BUG
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.EMFILE, "Too many open files"),
            "cannot go on: Too many open files: raise `ulimit -n`; the next",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "/x"),
            "/x: Not a directory: a file is in the place of a",
        ),
        (
            OSError(errno.ELOOP, "Too many levels", "/x"),
            "/x: Too many levels: a link leads to itself there: mend it; the",
        ),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "/x"),
            "/x: File name too long: set a shorter path; the next",
        ),
        (FileExistsError(errno.EEXIST, "File exists", "/x"), "/x: File exists: move it away; the next call resumes"),
        (OSError(errno.EKEYEXPIRED, "Key has expired", "/x"), "/x: Key has expired: unlock or renew it for cron's"),
        (OSError(errno.EUCLEAN, "Structure needs cleaning", "/x"), "/x: Structure needs cleaning: the file system is"),
        (OSError(errno.ESHUTDOWN, "Transport shutdown", "/x"), "/x: Transport shutdown: the disk or the mount fails"),
        (MemoryError(), "out of memory: free memory, raise `ulimit -v`, `-d` or `-u`, or add swap"),
        (ImportError("_ssl.so: failed to map segment from shared object"), "out of memory: free memory"),
        (SystemError("error return without exception set"), "out of memory: free memory"),
        (RuntimeError("can't start new thread"), "out of memory: free memory"),
    ],
)
def test_what_the_machine_lacks_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(automation, "tick", broken)
    assert cli.main([]) == exit_codes.TROUBLE
    [line] = capsys.readouterr().err.splitlines()
    assert told in line


def test_lack_of_memory_is_told_when_the_error_holds_none_any_more(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    held: list[weakref.ref[set[int]]] = []

    def full(*_: object, **__: object) -> None:
        large = set[int]()
        held.append(weakref.ref(large))
        raise MemoryError

    def utc_now() -> str:
        assert held[0]() is None
        raise MemoryError

    monkeypatch.setattr(automation, "tick", full)
    monkeypatch.setattr(cli, "clock", SimpleNamespace(utc_now=utc_now))
    assert cli.main([]) == exit_codes.TROUBLE
    assert capfd.readouterr().err == f"deepspeech_wer: {cli.OUT_OF_MEMORY}\n"


@pytest.mark.parametrize("files", [5, 6, 7, 9, 14])
def test_few_file_descriptors_are_told_in_one_line(tracked: Repository, files: int) -> None:
    limited = ["bash", "-c", f'ulimit -n {files} && exec "$@"', "tick", *TICK]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == exit_codes.TROUBLE
    [line] = [line for line in done.stderr.splitlines() if " INFO " not in line]
    assert "raise `ulimit -n`" in line
    assert tracked.git("rev-parse", "HEAD")


@pytest.mark.parametrize("command", [[], ["check"]])
def test_a_missing_git_is_reported_with_its_cure(command: list[str]) -> None:
    done = subprocess.run(
        [*TICK, *command], env={**os.environ, "PATH": "/nowhere"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == exit_codes.TROUBLE
    said = [line for line in (done.stdout + done.stderr).splitlines() if "git" in line]
    assert said[0].endswith("git is not on PATH: install it, or add its directory to PATH in the crontab")
    assert "Traceback" not in done.stderr
    assert command or len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["--quiet", "serve", "--port", "0"], ["status"], []])
def test_every_command_hides_before_it_loads_anything(command: list[str]) -> None:
    code = f"""
import sys
from deepspeech_wer import cli
from deepspeech_wer.machine import prctl
def hide():
    ours = {{"deepspeech_wer.configuration.settings", "deepspeech_wer.automation"}}
    heavy = {{"git", "argparse", *ours}} & set(sys.modules)
    print("hidden", *heavy, flush=True)
    raise SystemExit(9)
prctl.hide = hide
cli.main({command!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (9, "hidden\n"), done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_not_a_bug(tracked: Repository, closed: str) -> None:
    script = f'exec "$@" {closed}'
    done = subprocess.run(["sh", "-c", script, "sh", *TICK], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert len(archive.names(settings.load().places.runs)) == 1
    done = subprocess.run(["sh", "-c", script, "sh", *TICK, "show", "nope"], capture_output=True, check=False)
    assert done.returncode == exit_codes.TROUBLE
    assert tracked.path.exists()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_full_disk_under_the_log_does_not_lose_a_run(tracked: Repository, stream: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        log = {stream: full}
        assert subprocess.run(TICK, check=False, **log).returncode == 0
        assert len(archive.names(settings.load().places.runs)) == 1
        tracked.merge("broken", {"wer": "exit 7\n"})
        assert subprocess.run(TICK, check=False, **log).returncode == 4
        listed = subprocess.run([*TICK, "runs"], check=False, stderr=subprocess.PIPE, stdout=full)
    assert listed.returncode == exit_codes.TROUBLE
    assert listed.stderr.endswith(b"cannot write the output: No space left on device\n")


@pytest.mark.usefixtures("trained")
def test_a_reader_that_closes_the_pipe_early_is_not_an_error() -> None:
    done = subprocess.run(["bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "-", *TICK, "runs"], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_the_terminal_cannot_show_is_replaced(tracked: Repository) -> None:
    tracked.merge("naïve ☃")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for command in ([], ["runs"]):
        done = subprocess.run([*TICK, *command], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert "na?ve ?" in done.stdout


# Sends this process a SIGINT when the module argv[1] is loaded, as Ctrl-C at that moment would.
INTERRUPTED_AT = """
import importlib.abc, os, signal, sys, time
at = sys.argv.pop(1)
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == at:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
sys.meta_path.insert(0, Finder())
from deepspeech_wer.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("module", "code", "said"),
    [
        ("deepspeech_wer.cli", -signal.SIGINT, ""),
        ("deepspeech_wer.errors", -signal.SIGINT, ""),
        ("deepspeech_wer.commands.parser", -signal.SIGINT, ""),
        ("deepspeech_wer.commands.man", exit_codes.SIGNAL + signal.SIGINT, "interrupted"),
    ],
)
def test_ctrl_c_gives_no_traceback_whatever_is_being_loaded(module: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT, module, "man"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == bool(said)
    assert said in done.stderr
