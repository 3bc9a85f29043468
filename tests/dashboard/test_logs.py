"""What visitors see of a run's logs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, cli, update_site
from deepspeech_wer.configuration import settings
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import build, logs, site_names
from deepspeech_wer.records import Run
from tests import invented_runs
from tests.conftest import Repository
from tests.invented_runs import PROJECT, done, failed
from tests.test_automation import JOB, tick
from tests.test_automation import tracked as tracked  # the fixture

TRIMMED = PublishedLogs("trimmed", ("correct horse", "s3cr3t"))
NONE = PublishedLogs("none")


def archived(tmp_path: Path, run: Run, text: bytes) -> Run:
    [run] = invented_runs.archive([run], tmp_path / "archive")
    (run.directory / "err.log").write_bytes(text)
    return run


def detail(site: Path, run: Run) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((site / "runs" / f"{run.id}.js").read_text()[len("wer.run(") : -3])
    return parsed


def everything(site: Path) -> bytes:
    return b"".join((site / name).read_bytes() for name in site_names(site))


@pytest.mark.parametrize("run", [done(1, 0.5), failed(1)], ids=["done", "failed"])
def test_none_publishes_no_log_no_link_and_no_excerpt(tmp_path: Path, run: Run) -> None:
    run = archived(tmp_path, run, b"a line of the log\n")
    site = tmp_path / "site"
    build([run], site, project=PROJECT, logs=NONE)
    assert detail(site, run)["logs"] == []
    assert {"out.log", "err.log"}.isdisjoint(name for name, _ in detail(site, run)["files"])
    assert not list(site.rglob("*.log"))
    assert b"a line of the log" not in everything(site)
    assert (run.directory / "err.log").read_bytes() == b"a line of the log\n"


@pytest.mark.parametrize(
    ("failure", "text", "left"),
    [
        ("exit 3", "the last line", ""),
        ("diverged", "diverged: loss nan", ""),
        ("signal 9", "ended by Killed; last words: the last line", "ended by Killed"),
        ("timeout", "not done after 60 s (ds_job_timeout)", "not done after 60 s (ds_job_timeout)"),
    ],
)
def test_none_quotes_no_last_line_either(failure: str, text: str, left: str) -> None:
    assert logs.without_quotes(failed(1, failure, text), NONE).detail == left
    assert logs.without_quotes(failed(1, failure, text), logs.WHOLE).detail == text


def test_full_publishes_the_whole(tmp_path: Path) -> None:
    text = b"PASSWORD=correct horse\n" * 10_000
    run = archived(tmp_path, failed(1), text)
    build([run], tmp_path / "site", project=PROJECT, logs=logs.WHOLE)
    assert (tmp_path / "site" / "runs" / run.id / "err.log").read_bytes() == text


@pytest.mark.parametrize("status", ["done", "failed"])
def test_trimmed_publishes_the_end_and_says_so(tmp_path: Path, status: str) -> None:
    text = b"".join(b"line %d\n" % number for number in range(100_000))
    run = archived(tmp_path, done(1, 0.5) if status == "done" else failed(1), text)
    site = tmp_path / "site"
    build([run], site, project=PROJECT, logs=TRIMMED)
    head, *lines = (site / "runs" / run.id / "err.log").read_text().splitlines()
    assert head == f"[... only the end of {len(text):,} bytes is published ...]"
    assert len(lines) == logs.LAST_LINES
    assert lines[-1] == "line 99999"
    size = (site / "runs" / run.id / "err.log").stat().st_size
    assert ["err.log", size] in detail(site, run)["files"]
    assert detail(site, run)["logs"][1]["text"].endswith("line 99999")
    assert (run.directory / "err.log").read_bytes() == text


@pytest.mark.parametrize("text", [b"", b"one line\n", b"no end of line", b"\xff\r 50%\r100%\n"])
def test_a_short_log_without_secrets_is_published_whole(tmp_path: Path, text: bytes) -> None:
    run = archived(tmp_path, done(1, 0.5), text)
    build([run], tmp_path / "site", project=PROJECT, logs=TRIMMED)
    shown = (tmp_path / "site" / "runs" / run.id / "err.log").read_bytes()
    assert shown == text.decode("utf-8", "replace").encode()


def test_long_lines_are_trimmed_by_bytes(tmp_path: Path) -> None:
    run = archived(tmp_path, done(1, 0.5), b"x" * 50_000 + b"\n" + b"y" * 70_000 + b"\nend\n")
    build([run], tmp_path / "site", project=PROJECT, logs=TRIMMED)
    shown = (tmp_path / "site" / "runs" / run.id / "err.log").read_bytes()
    assert shown.endswith(b"\nend\n")
    assert len(shown) < logs.LAST_BYTES + 100


@pytest.mark.parametrize("before", [31_980, 31_990, 32_000, 256 * 1024 - 3])
def test_no_cut_leaves_half_of_a_secret(tmp_path: Path, before: int) -> None:
    run = archived(tmp_path, done(1, 0.5), b"a" * 40 + b" correct horse " + b"b" * before)
    build([run], tmp_path / "site", project=PROJECT, logs=TRIMMED)
    assert b"horse" not in everything(tmp_path / "site")


@pytest.mark.parametrize(
    "line",
    [
        "the phrase is correct horse, said twice: correct horse",
        "export API_TOKEN=abcd-1234",
        '{"password": "hunter two", "user": "ada"}',
        "db_passwd: hunter2",
        "secret_key = 'q w e r'",
        "cloning https://ada:hunter2@example.com/x.git",
        "cloning https://ghp_0123456789abcdef0123@github.com/x.git",
        "token ghp_0123456789abcdef0123 was refused",
        "AKIAIOSFODNN7EXAMPLE is no user",
        "Authorization: Basic YWRhOmh1bnRlcjI=",
        "curl -H 'Authorization: Bearer abc.def.ghi'",
        "+ curl -u ada:hunter2 https://example.com/",
        "+ train.py --user ada --db-password 'hunter two' --epochs 3",
        "sshpass -p hunter2 scp a b",
        "machine example.com login ada password hunter2",
        "MYSQL_PWD=hunter2",
        '{"auths": {"ghcr.io": {"auth": "YWRhOmh1bnRlcjI="}}}',
        "https://example.com/x?X-Amz-Date=1&X-Amz-Signature=YWRhOmh1",
        "https://a.blob.core.windows.net/x?sv=1&sig=YWRhOmh1bnRl%3D",
        "posting to https://hooks.slack.com/services/T0/B0/YWRhOmh1",
        "OpenAI says that sk-proj-YWRhOmh1bnRlcjIYWRhOmh1 is wrong",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\nBBBB\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n=BBBB\n-----END PGP PRIVATE KEY BLOCK-----",
        "Encryption: none\nPrivate-Lines: 2\nAAAA\nBBBB\nPrivate-MAC: 12ab",
        'os.environ["HF_TOKEN"] = "hunter2"',
        "API_TOKEN := hunter2",
        '"password" => "hunter2"',
        "SLURM_JWT=hunter2",
        "< Set-Cookie: theme=dark; sid=hunter2; Path=/",
        "+ wandb login hunter2",
        "+ docker login -u ada -p hunter2 example.com",
        "+ mysqldump -u ada -phunter2 runs",
        "https://api.telegram.org/bot123456789:YWRhOmh1bnRlcjIYWRhOmh1bnRlcjIYWRh/sendMessage",
        "SG.YWRhOmh1bnRlcjIYWRhOmh.YWRhOmh1bnRlcjIYWRhOmh1bnRlcjIYWRhOmh1 was refused",
    ],
)
def test_secrets_are_masked(line: str) -> None:
    secrets = ("correct horse", "abcd-1234", "hunter", "q w e r", "ghp_", "AKIA", "YWRh", "abc.def", "AAAA", "BBBB")
    shown = logs.masked(line, TRIMMED)
    assert "********" in shown
    assert not any(secret in shown for secret in secrets)


@pytest.mark.parametrize(
    "line",
    [
        "epoch 3: loss 1.25, tokens: 512",
        "max_token: 12",
        "key 3 of 5",
        "bypass mode",
        "PWD=/srv/x OLDPWD=/srv",
        "+ docker run -u 1000:1000 --pad-token x",
        "+ train.py --user ada --keys a b",
        "author: Ada, design: 3",
        "cookies: 3, wandb login: done",
        "+ login -p; mkdir -p a; mysql -u ada",
        "step 3 => 4, key => 5, key := 6",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert logs.masked(line, TRIMMED) == line


# Words of 256 kB, each of which some pattern could begin anywhere in.
LONG = (
    "-",
    "a-",
    "a.",
    "--a",
    "--user",
    "a://",
    "https://a.",
    "-eyJaaaaaaaa",
    "key=",
    "/a",
    " -u a",
    "@",
    "auth ",
    "\x1b[",
)


@pytest.mark.parametrize("part", [*LONG, "-u" + " " * 100_000, "--user" + "=" * 100_000])
def test_a_long_word_holds_up_no_build(part: str) -> None:
    code = (
        f"from deepspeech_wer.dashboard import logs; logs.masked({part!r} * ((256 << 10) // {len(part)}), logs.WHOLE)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)  # it took minutes


def test_home_directories_are_masked(sealed: Path) -> None:
    text = f"{sealed}/x.py, /home/ada/y, /Users/ben: {sealed}s /srv/home/z"
    assert logs.masked(text, TRIMMED) == f"~/x.py, ~/y, ~: {sealed}s /srv/home/z"


def test_the_secrets_are_those_of_the_environment() -> None:
    given = {
        "DB_PASSWORD": "hunter two",
        "ApiToken": "abcd-1234",
        "MYSQL_PWD": "tulip",
        "AWS_SECRET_ACCESS_KEY": "line one\nline two",
        "MY_KEY": "abc",  # too short
        "ds_webhook_url": "https://chat.example.com/T0/B0",
        "ds_repo_url": "https://ada:p%40ss@example.com/x.git",
        "PWD": "/srv/x",
        "PLAIN": "shown",
    }
    expected = {
        "hunter two",
        "hunter%20two",  # as in an address
        "tulip",
        "abcd-1234",
        "line one",
        "line%20one",
        "line two",
        "line%20two",
        "https://chat.example.com/T0/B0",
        "https%3A%2F%2Fchat.example.com%2FT0%2FB0",
        "p%40ss",
        "p@ss",
    }
    assert set(settings.load(given).logs.secrets) == expected
    assert "hunter" not in repr(settings.load(given))


LOUD = (
    JOB
    + 'echo "connecting with $DB_PASSWORD in $HOME/x"\nprintf \'%s\\n\' "$(seq 1 1000)" "$LAST" >&2\nexit ${CODE:-0}\n'
)


@pytest.mark.parametrize("code", ["0", "7"])
def test_a_change_of_the_setting_holds_for_earlier_runs(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter two")
    monkeypatch.setenv("LAST", "gave up on hunter two")
    monkeypatch.setenv("CODE", code)
    monkeypatch.setenv("ds_job_attempts", "1")
    tracked.commit("loud", {"bin/run-wer-automation.sh": LOUD})
    tick()
    current = settings.load()
    site, [name] = current.places.site, archive.names(current.places.runs)
    whole = (current.places.runs / name / "err.log").read_bytes()
    assert b"hunter two" in whole
    seen = {}
    for mode in ("", "full", "none", "trimmed"):
        monkeypatch.setenv("ds_publish_logs", mode)
        assert update_site.is_behind(settings.load()) == (mode != "")
        assert tick() == 0
        assert not update_site.is_behind(settings.load())
        seen[mode] = {path.name: path.read_bytes() for path in (site / "runs" / name).glob("*.log")}
        assert (b"hunter two" in everything(site)) == (mode == "full")
        assert (b"gave up" in everything(site)) == (mode != "none")
    assert seen["full"]["err.log"] == whole
    assert seen["none"] == {}
    assert seen["trimmed"] == seen[""]
    assert b"~/x" in seen["trimmed"]["out.log"]
    assert b" 999\n" in seen["trimmed"]["err.log"]
    assert b" 700\n" not in seen["trimmed"]["err.log"]
    assert (current.places.runs / name / "err.log").read_bytes() == whole


@pytest.mark.usefixtures("tracked")
def test_a_site_that_is_built_anew_shows_the_same_logs() -> None:
    tick()
    runs = settings.load().places.site / "runs"
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    shutil.rmtree(runs.parent)
    assert cli.main(["build"]) == 0
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ds_publish_logs", "some")
    assert cli.main(["settings"]) == 2
    assert "ds_publish_logs: 'some': expected none or trimmed or full" in capsys.readouterr().err


def test_kept_lines_are_of_the_setting(tmp_path: Path) -> None:
    from deepspeech_wer.dashboard import kept
    from tests.dashboard.test_kept import archive as with_records

    run = failed(1, "exit 1", "correct horse")._replace(id="20240101-000000-0123456789ab")
    with_records([run], tmp_path / "runs")
    for setting, expected in ((logs.WHOLE, b"correct horse"), (TRIMMED, b"********"), (NONE, b'"detail":""')):
        loaded = kept.load(tmp_path / "runs", tmp_path / "kept", setting)
        assert expected in loaded.line(loaded.runs[0])
        assert loaded.whole(loaded.runs[0]).detail == loaded.runs[0].detail
