"""What visitors see of the JSON that a job wrote: no secret, no directory of the machine. The archive is as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive
from deepspeech_wer.configuration import settings
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import heard, masked_json, site_names
from deepspeech_wer.dashboard.heard import argument
from tests.conftest import Repository
from tests.test_automation import JOB, tick
from tests.test_automation import tracked as tracked  # the fixture

LOGS = PublishedLogs("trimmed", ("correct horse", 's3cr3t/&"quoted'))
M = "********"


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("train.py --batch 16", None),
        ("the correct horse battery", f"the {M} battery"),
        ('a s3cr3t/&"quoted b', f"a {M} b"),  # whatever JSON makes of its characters
        ("train.py --api-key abcdef --batch 16", f"train.py --api-key {M} --batch 16"),
        ("train.py --password=abcdef", f"train.py --password={M}"),
        (["train.py", "--auth_token", "abcdef", "--batch", "16"], ["train.py", "--auth_token", M, "--batch", "16"]),
        ({"HF_TOKEN": "abcdef", "HOME_DIR": "x"}, {"HF_TOKEN": M, "HOME_DIR": "x"}),
        (
            {"env": {"AWS_SECRET_ACCESS_KEY": "abcdef", "PATH": "/usr/bin"}},
            {"env": {"AWS_SECRET_ACCESS_KEY": M, "PATH": "…/usr/bin"}},
        ),
        ({"pad_token": "<pad>", "sort_key": "seconds", "max_tokens": 5}, None),
        ({"password": "", "token": None}, None),
        ("https://ada:abcdef@example.org/a/b/c", f"https://{M}@example.org/a/b/c"),
        ("https://example.org/a/b/c and and/or 3/4", None),
        ("/srv/corpora/ted/train.csv", "…/ted/train.csv"),
        ("--train=/srv/corpora/ted/train.csv,/mnt/x/dev.csv", "--train=…/ted/train.csv,…/x/dev.csv"),
        ("data:/srv/corpora/ted/train.csv", "data:…/ted/train.csv"),
        ("/home/ada/corpora/ted/train.csv", "~/corpora/ted/train.csv"),
        ("origin/main ../x/y ~/x ./a/b", None),
        ("ghp_" + "a" * 36, M),
        ([1, 2.5, None, True, {"a": [{}]}], None),
    ],
)
def test_what_visitors_see(tmp_path: Path, written: Any, seen: Any) -> None:
    path = tmp_path / "history.json"
    for text in (json.dumps({"x": written}), json.dumps({"x": written}, ensure_ascii=False, indent=1)):
        path.write_text(text)
        found = masked_json.as_seen(path, LOGS)
        assert (found and json.loads(found)) == (None if seen is None else {"x": seen})
        assert masked_json.as_seen(path, PublishedLogs("full", LOGS.secrets)) is None
        assert path.read_text() == text
    if seen is not None:
        assert masked_json.as_seen(path, PublishedLogs("none", LOGS.secrets)) is not None


def test_what_is_seen_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"a": "/srv/x/y/z", "b": "--password x", "c": "https://a:b@c/d"}))
    once = masked_json.as_seen(path, LOGS)
    assert once
    path.write_bytes(once)
    assert masked_json.as_seen(path, LOGS) is None


@pytest.mark.parametrize("text", ["not JSON: password=abcdef /srv/x/y/z", "[" * 100_000 + " password=abcdef"])
def test_what_is_no_json_is_masked_as_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.json"
    path.write_text(text)
    found = masked_json.as_seen(path, LOGS)
    assert found
    assert b"abcdef" not in found


def test_what_is_too_large_to_be_masked_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(masked_json, "MAX_BYTES", 10)
    path = tmp_path / "utterances.json"
    path.write_text(json.dumps(["correct horse"]))
    assert b"horse" not in (masked_json.as_seen(path, LOGS) or b"horse")
    assert len(caplog.records) == 1


LEAKING = """printf '{"version":1,"set":"test","columns":["id","speaker","seconds","reference","hypothesis"],"rows":[
["/srv/corpora/private/spk1/a.wav","1",1.5,"a b","a c"]]}' > "$ds_logs_dir/x/utterances.json"
"""


# A transcript that is a path, a hypothesis that has a secret, and a secret of several words in both.
TELLING = """printf '{"version":1,"set":"test","columns":["id","speaker","seconds","reference","hypothesis"],"rows":[
["u1","1",1.5,"see /srv/corpora/private/a.wav now","see s3cr3tive now now"],
["u2","password=hunter2",1.5,"one four words here too","one four words here it password=hunter2"]]}' \\
  > "$ds_logs_dir/x/utterances.json"
"""


def test_transcripts_are_masked_and_keep_their_words(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked.merge("tells", {"bin/run-wer-automation.sh": JOB + TELLING})
    monkeypatch.setenv("MY_SECRET", "s3cr3tive")
    monkeypatch.setenv("OTHER_PASSPHRASE", "four words here")
    assert tick() == 0
    site = settings.load().places.site
    scripts = [(site / name).read_bytes() for name in site_names(site) if name.startswith("sets/") or "edits" in name]
    assert len(scripts) == 3
    for leak in (b"/srv/corpora", b"s3cr3tive", b"hunter2", b"four", b"words here"):
        assert not any(leak in one for one in scripts), leak
    said = [argument(one) for one in scripts]
    texts = next(one["texts"] for one in said if "texts" in one)
    assert texts == ["see …/private/a.wav now", f"one {M} {M} {M} too"]
    (wrong,) = next(one["sets"] for one in said if "sets" in one)
    assert wrong["edits"] == [f"1 …/private/a.wav {M} 3  now", f"4 too it 5  password={M}"]


def test_an_error_keeps_its_place() -> None:
    told = {
        "version": 1,
        "run": "x",
        "sets": [{"name": "a", "set": "b", "edits": ["3 x --token 7 y z", "0 /srv/a/b/c "]}],
    }
    script = b"wer.edits(" + json.dumps(told).encode() + b");\n"
    seen = heard.as_seen(script, lambda text: masked_json.trimmed(text, LOGS))
    assert argument(seen or b"")["sets"][0]["edits"] == ["3 x --token 7 y z", "0 …/b/c "]
    assert heard.as_seen(b"wer.edits([]);\n", str.upper) is None
    assert heard.as_seen(b"wer.other({});\n", str.upper) is None


@pytest.mark.parametrize("mode", ["trimmed", "none", "full"])
def test_nothing_of_the_site_has_it_unless_all_is_to_be_seen(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    context = '"argv":["train","--token","t0ken","/srv/corpora/private/train.csv"],"shell":"pass s3cr3tive"'
    job = JOB.replace('"git_hash"', context + ',"git_hash"').replace(
        '"n":1', '"train":"/srv/corpora/private/train.csv"'
    )
    tracked.merge("leaks", {"bin/run-wer-automation.sh": job + LEAKING})
    monkeypatch.setenv("MY_SECRET", "s3cr3tive")
    monkeypatch.setenv("ds_publish_logs", mode)
    assert tick() == 0
    places = settings.load().places
    site = b"".join((places.site / name).read_bytes() for name in site_names(places.site))
    for leak in (b"t0ken", b"/srv/corpora", b"s3cr3tive"):
        assert (leak in site) == (mode == "full"), leak
    assert b"private/train.csv" in site
    run = places.runs / archive.names(places.runs)[-1]
    assert b"/srv/corpora/private/train.csv" in (run / "hyper.json").read_bytes()
    assert b"/srv/corpora/private/spk1/a.wav" in (run / "utterances.json").read_bytes()
