"""The command `check`: each prerequisite, met and not met."""

from __future__ import annotations

import errno
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from deepspeech_wer import archive, cli, places, room
from deepspeech_wer.configuration import settings
from deepspeech_wer.machine import lock
from deepspeech_wer.repository import mirror
from tests.conftest import Repository
from tests.end_to_end.sshd import Sshd, free_port, running_sshd
from tests.test_automation import tracked as tracked  # the fixture

MOUNTS = r"""sysfs /sys sysfs rw 0 0
/dev/sda1 / ext4 rw,relatime 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/ada/fast\040disk xfs rw 0 0
//nas/data /mnt/nas cifs rw 0 0
tmpfs /mnt/nas tmpfs rw 0 0
"""


def found(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, str]:
    """Return the output of `check` as subject -> level and text."""
    capsys.readouterr()
    assert cli.main(["check"]) == code
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    return {subject: f"{level} {text}" for level, subject, text in lines}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A web host. The variables are set to publish to it."""
    with running_sshd(tmp_path / "sshd") as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def test_a_good_installation_passes_and_nothing_is_changed(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = found(capsys)
    assert {line.split()[0] for line in lines.values()} <= {"ok", "hint"}
    assert lines["repository"] == f"ok tracked, its HEAD is at {tracked.git('rev-parse', 'HEAD')[:12]}"
    assert lines["publishing"].startswith("ok off (ds_website_username, ")
    current = settings.load()
    assert list(current.places.cache.iterdir()) == []
    assert not current.places.data.exists()
    assert not current.clone_path.exists()


def test_every_unusable_setting_has_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_track", "everything")
    monkeypatch.setenv("ds_job_attempts", "0")
    assert cli.main(["check"]) == 1
    captured = capsys.readouterr()
    assert [line.split()[:3] for line in captured.out.splitlines()] == [
        ["fault", "settings", "ds_track:"],
        ["fault", "settings", "ds_job_attempts:"],
    ]
    assert captured.err == ""


@pytest.mark.usefixtures("tracked")
def test_the_cure_for_a_full_disk_is_space(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert "No space left on device: free some space there" in found(capsys, code=1)["data"]


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(
    ("name", "value", "subject", "text"),
    [
        ("ds_repo_url", "/nowhere/at/all", "repository", "cannot fetch /nowhere/at/all"),
        ("ds_github_ref", "release", "repository", "no branch release there (its HEAD is main): set ds_github_ref"),
        ("ds_wer_automation", "/nowhere/job", "job", "expected an executable file, found none"),
        ("ds_clone_path", "{home}/full/file", "checkout", "found something else"),
        ("ds_dataroot", "{home}/full/file", "data", "cannot write in"),
        ("ds_website_url", "http://127.0.0.1:1/", "page", "no answer (Connection refused)"),
        ("ds_website_url", "http://www..example.com/", "page", "no answer ("),
    ],
)
def test_a_fault_does_not_hide_the_other_checks(
    sealed: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    subject: str,
    text: str,
) -> None:
    (sealed / "full").mkdir()
    (sealed / "full" / "file").touch()
    monkeypatch.setenv(name, value.replace("{home}", str(sealed)))
    lines = found(capsys, code=1)
    assert [name for name, line in lines.items() if line.startswith("fault ")] == [subject]
    assert text in lines[subject]
    assert len(lines) == 15


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ds_dataroot", "{home}/other", "belongs to data "),
        ("ds_github_ref", "main", "belongs to branch HEAD, not main"),
        ("ds_dataroot", "", "is empty, but had runs before: is its disk mounted?"),
    ],
)
def test_what_every_tick_would_refuse_is_a_fault(
    tracked: Repository,
    sealed: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    text: str,
) -> None:
    tracked.merge("one")
    assert cli.main([]) == 0
    capsys.readouterr()
    if value:
        monkeypatch.setenv(name, value.replace("{home}", str(sealed)))
    else:
        data = settings.load().places.data
        data.rename(data.with_name("away"))
    assert text in found(capsys, code=1)["data"]
    assert cli.main([]) == 1
    assert text in capsys.readouterr().err


def test_under_the_url_of_another_repository_the_mirror_stays_as_it_is(
    tracked: Repository, sealed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked.merge("one")
    assert cli.main([]) == 0
    capsys.readouterr()
    where = settings.load().places.mirror
    before = mirror.tip(where)
    other = Repository(sealed / "other")
    other.commit("root", {"bin/run-wer-automation.sh": "#!/bin/sh\n"})
    monkeypatch.setenv("ds_repo_url", f"file://{other.path}")

    assert "belongs to url " in found(capsys, code=1)["data"]
    assert mirror.tip(where) == before


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("[core]\n\tcompression = 99\n", "bad zlib compression level 99; correct core.compression in "),
        ("[fetch]\n\tparallel = many\n", "'fetch.parallel': invalid unit; correct fetch.parallel in "),
        ("[core\n", "bad config line 1 in file "),
    ],
)
@pytest.mark.parametrize("had_a_tick", [False, True])
def test_a_setting_of_git_that_fails_every_fetch_fails_check_in_the_same_words(
    tracked: Repository,
    sealed: Path,
    capsys: pytest.CaptureFixture[str],
    config: str,
    told: str,
    had_a_tick: bool,
) -> None:
    if had_a_tick:
        assert cli.main([]) == 0
    tracked.merge("one")
    (sealed / ".gitconfig").write_text(config)

    lines = found(capsys, code=1)

    assert [name for name, line in lines.items() if line.startswith("fault ")] == ["repository"]
    assert f"{told}{sealed / '.gitconfig'}" in lines["repository"]
    assert cli.main([]) == 1
    assert lines["repository"].removeprefix("fault ") in capsys.readouterr().err
    assert not list(settings.load().places.cache.glob(".check-*"))


def test_a_server_that_sends_no_part_of_the_history_is_asked_for_all_of_it(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked.git("config", "uploadpack.allowRefInWant", "true")  # git fails there to fetch a part

    assert found(capsys)["repository"].startswith("ok ")


def test_an_empty_repository_is_a_hint(
    repository: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_repo_url", str(repository.path))
    assert found(capsys)["repository"] == "hint tracked: the repository has no commits yet"


@pytest.mark.usefixtures("tracked")
def test_an_old_git_is_a_fault(
    sealed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (sealed / "bin").mkdir()
    (sealed / "bin" / "git").write_text('#!/bin/sh\ncase "$*" in *version) echo git version 2.20.1;; esac\n')
    (sealed / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{sealed / 'bin'}:{os.environ['PATH']}")
    assert found(capsys, code=1)["git"].startswith("fault expected git 2.32 or newer, found git version 2.20.1")


@pytest.mark.usefixtures("tracked")
def test_a_python_that_cannot_train_is_a_hint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_python", "/bin/false")
    assert "/bin/false: cannot import tensorflow and nbconvert: install" in found(capsys)["job"]


@pytest.mark.usefixtures("tracked")
def test_a_token_without_github_is_a_hint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_github_token", "s3cret")
    assert found(capsys)["notices"] == "hint ds_github_token has no effect: tracked is not on GitHub"


@pytest.mark.usefixtures("tracked")
def test_a_running_tick_is_not_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    descriptor = lock.acquire(str(settings.load().places.cache / "lock"))
    assert descriptor is not None
    assert f"a tick is running: process {os.getpid()} since " in found(capsys)["lock"]
    os.close(descriptor)


@pytest.mark.usefixtures("tracked")
def test_the_web_host_is_checked_and_not_changed(server: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(capsys)["publishing"].endswith("host key, login and web root are valid; no site is built yet")
    cli.main(["merge"])
    assert "; would send " in found(capsys)["publishing"]
    assert list(server.root.iterdir()) == []


@pytest.mark.usefixtures("tracked")
def test_a_foreign_web_root_is_a_fault(server: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    (server.root / "thesis.tex").touch()
    cli.main(["merge"])
    assert "holds thesis.tex: expected an empty directory" in found(capsys, code=1)["publishing"]


@pytest.mark.usefixtures("tracked")
def test_a_foreign_web_root_is_a_fault_even_before_the_first_site(
    server: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    (server.root / "thesis.tex").touch()
    assert "holds thesis.tex: expected an empty directory" in found(capsys, code=1)["publishing"]


@pytest.mark.usefixtures("tracked")
def test_an_unknown_host_key_and_a_silent_host_are_faults(
    server: Sshd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.known_hosts.write_text("")
    assert "unknown host: no known_hosts file has a key" in found(capsys, code=1)["publishing"]
    monkeypatch.setenv("ds_website_server_port", str(free_port()))
    assert found(capsys, code=1)["publishing"].startswith("fault ")


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (403, "hint")])
def test_the_public_address_is_requested(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, status: int, level: str
) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("ds_website_url", f"http://127.0.0.1:{web.server_port}/wer/")
        assert found(capsys)["page"].startswith(f"{level} http://127.0.0.1:{web.server_port}/wer/ answers")
        web.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache", "ext4"),
        ("/home/ada/.cache", "nfs4"),
        ("/home/ada/fast disk/x", "xfs"),
        ("/homes", "ext4"),
        ("/mnt/nas/x", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert places.filesystem(Path(path), MOUNTS) == kind


@pytest.mark.usefixtures("tracked")
def test_a_lock_on_nfs_is_a_hint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "filesystem", lambda *_: "nfs4")  # mounting a real NFS takes a server and root
    assert "is on nfs4: locks may not work there" in found(capsys)["lock"]


@pytest.mark.usefixtures("tracked")
def test_check_passes_after_a_tick(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert len(archive.names(settings.load().places.runs)) == 1
    found(capsys)


# -- the checkout


def mounted(place: Path, options: str) -> Path:
    """Mount a file system of its own, and have it unmounted at the end."""
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=False).returncode:
        pytest.skip("only root can mount")
    return place


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            "noexec",
            r"ds_clone_path .* is mounted noexec: mount it with exec, or set another path \(Permission denied\)",
        ),
        ("size=30k", "make room there"),
        ("nr_inodes=12", "make room there|no inodes left"),
        ("ro", "Read-only file system"),
    ],
)
def test_a_place_where_no_merge_can_be_run_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: str, told: str
) -> None:
    place = mounted(tmp_path / "mount", options)
    monkeypatch.setenv("ds_clone_path", str(place / "clone"))
    try:
        line = found(capsys, code=1)["checkout"]
        left = list(place.iterdir())
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert line.startswith("fault ")
    assert re.search(told, line)
    assert left == []


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", ["checkpoints", "runs", "work", "requests", "site"])
def test_a_part_of_the_data_root_on_a_disk_that_takes_nothing_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data = settings.load().places.data
    data.mkdir(parents=True)
    place = mounted(tmp_path / "scratch", "ro")
    (data / name).symlink_to(place)
    try:
        line = found(capsys, code=1)["data"]
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert line.startswith(f"fault {data / name}: cannot write in ")
    assert line.endswith("Read-only file system: mount it writable, or set another path")
    place.rmdir()
    assert f" a link to {place}, which is not there: mount its disk, " in found(capsys, code=1)["data"]


def test_the_newest_commit_is_checked_out_once_there_is_a_mirror(
    tracked: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "; a small repository of its own was checked out there, and a script run" in found(capsys)["checkout"]
    assert cli.main([]) == 0
    sha = tracked.commit("next")
    current = settings.load()
    before = sorted(current.places.cache.iterdir())
    assert f"ok {current.clone_path}; {sha[:12]} was checked out there, and a script run" in found(capsys)["checkout"]
    monkeypatch.setenv("ds_repo_url", str(tracked.path / "gone"))
    assert f"; {sha[:12]} was checked out there" in found(capsys, code=1)["checkout"]
    assert sorted(current.places.cache.iterdir()) == before
    assert not current.clone_path.exists()
    assert current.places.lock.read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.usefixtures("tracked")
def test_a_mirror_that_no_tick_can_use_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    bare = settings.load().places.mirror
    os.chown(bare, 12345, -1)

    line = found(capsys, code=1)["checkout"]

    assert line.startswith(f"fault cannot read the mirror {bare}: ")
    assert f"{bare} belongs to another user: chown it as root (`chown -R`), or remove it" in line


@pytest.mark.usefixtures("tracked")
def test_a_mirror_that_a_tick_is_using_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    lock_file, bare = settings.load().places.lock, settings.load().places.mirror
    (bare / "shallow.lock").touch()  # of the tick's git
    descriptor = lock.acquire(str(lock_file))
    assert descriptor is not None
    assert "; a small repository of its own was checked out" in found(capsys)["checkout"]
    assert (bare / "shallow.lock").exists()
    os.close(descriptor)  # as a kill does
    assert " was checked out there" in found(capsys)["checkout"]
    again = lock.acquire(str(lock_file))
    assert again is not None
    assert lock.follows_a_kill(again)
    lock.release(again)


@pytest.mark.usefixtures("tracked")
def test_what_a_killed_check_left_is_wiped_by_the_next(
    sealed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clone_path = tmp_path / "new" / "deep" / "clone"
    monkeypatch.setenv("ds_clone_path", str(clone_path))
    (sealed / "bin").mkdir()
    script = sealed / "bin" / "git"
    script.write_text(f'#!/bin/sh\ncase "$*" in *checkout*) kill -9 $PPID;; esac\nexec {shutil.which("git")} "$@"\n')
    script.chmod(0o755)
    command = [sys.executable, "-P", "-m", "deepspeech_wer", "check"]
    path = f"{sealed / 'bin'}:{os.environ['PATH']}"
    killed = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, check=False)
    assert killed.returncode == -9
    assert list(clone_path.iterdir())
    found(capsys)
    assert not clone_path.exists()
    assert list(settings.load().places.cache.glob("check*")) == []


def test_a_merge_that_cannot_be_checked_out_is_a_hint(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    blob = tracked.git("rev-parse", "HEAD:wer")
    entries = f"100644 blob {blob}\t{'x' * 256}\n"
    made = subprocess.run(
        ["git", "-C", str(tracked.path), "mktree"], input=entries, capture_output=True, text=True, check=True
    )
    tracked.git(
        "update-ref", "refs/heads/main", tracked.git("commit-tree", made.stdout.strip(), "-p", "main", "-m", "long")
    )
    assert re.match("hint cannot check out .*File name too long: a tick would record", found(capsys)["checkout"])


@pytest.fixture
def installed(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for `crontab -l`, which prints the file returned: the real one would need a crontab of this user's."""
    program = sealed / "stand-in" / "crontab"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n[ -e "{sealed}/table" ] || {{ echo "no crontab for ada" >&2; exit 1; }}\ncat "{sealed}/table"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return sealed / "table"


def programs(directory: Path, **scripts: str) -> Path:
    directory.mkdir()
    for name, text in scripts.items():
        path = directory / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return directory


LINE = "*/5 * * * * exec python -P -m deepspeech_wer >>log 2>&1\n"


@pytest.mark.usefixtures("tracked")
def test_the_line_of_the_crontab_is_tried_as_cron_would(
    installed: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(capsys)["crontab"].startswith("hint no crontab for ada: install crontab.example")
    installed.write_text("0 0 * * * backup\n# " + LINE)
    assert found(capsys)["crontab"].startswith("hint no line of the crontab runs deepspeech_wer: add the one")
    good = f"PATH={Path(sys.executable).parent}:/usr/bin:/bin\n{LINE}"
    installed.write_text(good)
    assert found(capsys)["crontab"] == f"ok its line runs {Path(sys.executable).parent / 'python'}"
    monkeypatch.setenv("ds_instance", "french")
    assert found(capsys)["crontab"].startswith(
        "hint no line of the crontab runs deepspeech_wer with ds_instance=french"
    )
    installed.write_text(good + LINE.replace("exec", "ds_instance=french exec"))
    assert found(capsys)["crontab"].startswith("ok its line runs ")
    assert sealed.exists()


@pytest.mark.usefixtures("tracked")
def test_a_path_without_the_package_is_a_fault_with_its_cure(
    installed: Path, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cure = "put the bin directory of the virtual environment first in the crontab's PATH"
    empty = programs(sealed / "empty")
    installed.write_text(f"PATH={empty}\n{LINE}")
    assert found(capsys, code=1)["crontab"] == f"fault python is not on the PATH that cron has ({empty}): {cure}"
    bare = programs(sealed / "bare", python="echo No module named deepspeech_wer >&2; exit 1")
    installed.write_text(f"PATH={bare}\n{LINE}")
    assert "git is not on the PATH that cron has" in found(capsys, code=1)["crontab"]
    installed.write_text(f"PATH={bare}:/usr/bin:/bin\n{LINE}")
    assert (
        found(capsys, code=1)["crontab"] == f"fault {bare}/python, which this line runs, has no deepspeech_wer: {cure}"
    )
    old = programs(sealed / "old", deepspeech_wer="[ $1 = --version ] && echo deepspeech-wer 0.9.1")
    installed.write_text(f"PATH={old}:/usr/bin:/bin\n*/5 * * * * deepspeech-wer\n")
    assert f"hint {old}/deepspeech-wer, which this line runs, has deepspeech_wer 0.9.1" in found(capsys)["crontab"]


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(("runs", "level"), [(100, "ok"), (2, "hint"), (0.5, "fault")])
def test_the_free_room_is_compared_with_what_the_last_runs_took(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runs: float, level: str
) -> None:
    assert cli.main([]) == 0
    cache = settings.load().places.cache
    assert 0 < room.last(cache)[-1] < 1 << 20
    room.note(cache, 8 << 30)
    usage = shutil.disk_usage(cache)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(runs * (8 << 30))))
    line = found(capsys, code=level == "fault")["data"]
    assert line.startswith(f"{level} ")
    assert "the last 2 runs took up to 8.6 GB each" in line
    assert ("free some space there (`prune`)" in line) == (level != "ok")


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("text", ["", "[]", '{"version": 2, "runs": [1]}', '{"version": 1, "runs": ["x", -1, true]}'])
def test_a_damaged_measurement_is_none(capsys: pytest.CaptureFixture[str], text: str) -> None:
    (settings.load().places.cache / room.NAME).write_text(text)
    assert room.last(settings.load().places.cache) == []
    assert "runs took" not in found(capsys)["data"]
