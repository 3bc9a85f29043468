"""The command overview: one page over several sites, also over hostile, damaged, silent and newer ones."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag

from deepspeech_wer import cli, exit_codes
from deepspeech_wer.dashboard import Judged, Project, build, glance, overview
from deepspeech_wer.errors import Trouble
from tests.invented_runs import archive, done, failed, years

HOSTILE = '"><script>alert(1)</script>\u202e<b>'


def site(place: Path, name: str = "speech", *, address: str | None = None, **judged: Any) -> Path:
    """Build a site of three runs at `place`."""
    runs = archive([done(1, 0.5), failed(2), done(3, 0.25)], place.with_name(f"{place.name}-archive"))
    project = Project(name, None, "main", "2024-03-01T12:00:00Z", website=address)
    build(runs, place, project=project, judged=Judged(**judged))
    return place


def beat(place: Path, silence_s: float, **more: Any) -> None:
    """Write js/now.js as of a time ago."""
    looked = (datetime.now(UTC) - timedelta(seconds=silence_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    record = {"version": 1, "looked_at": looked, "every": 3600, "waiting": 0, "index": None, "job": None, **more}
    (place / "js/now.js").write_text(f"window.WER_NOW={json.dumps(record)};\n")


def shown(out: Path, *arguments: str | Path, code: int = exit_codes.DONE) -> list[Tag]:
    """Run the command and return the lines of the page that it wrote."""
    assert cli.main(["overview", "--out", str(out), *map(str, arguments)]) == code
    return BeautifulSoup(out.read_bytes(), "html.parser").select("tbody tr")


def test_each_site_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = site(tmp_path / "french", "speech/fr", headline=("worse", "Worse: 25.00 %, Ada.", "x"))
    beat(worse, 60, waiting=2, job={"sha": "0123456789abcdef"})
    quiet = site(tmp_path / "german", "speech/de")
    beat(quiet, 90_000)
    first, second = shown(tmp_path / "overview.htm", worse, quiet)
    assert [cell.get_text(" ", strip=True) for cell in first.select("th, td.number")] == [
        "speech/fr main · french",
        "25.00 %",
    ]
    assert "▲ worse 25.00 %, Ada." in first.get_text(" ", strip=True)
    assert "training 01234567 · 2 merges wait" in first.get_text(" ", strip=True)
    assert first.select_one(".life.fresh")
    assert second.select_one(".life.silent")
    assert first.a and first.a["href"] == "./french/index.htm"
    assert first.svg and first.svg["aria-label"] == "2 measured runs, from 25.00 % to 50.00 %"
    assert "2 sites: 1 worse, 1 silent; written to" in capsys.readouterr().out


def test_a_line_leads_to_where_the_site_is_published(tmp_path: Path) -> None:
    [line] = shown(tmp_path / "o.htm", site(tmp_path / "a", address="https://wer.example.com/?a=1&b=2"))
    assert line.a and line.a["href"] == "https://wer.example.com/?a=1&b=2"


def test_a_link_that_is_no_web_address_is_not_followed(tmp_path: Path) -> None:
    place = site(tmp_path / "java script:x", address="https://wer.example.com/")
    feed = place / "feed.xml"
    feed.write_text(feed.read_text().replace("https://wer.example.com/", "javascript:alert(1)"))
    [line] = shown(tmp_path / "o.htm", place)
    assert line.a and line.a["href"] == "./java%20script%3Ax/index.htm"


def test_all_trackers_of_a_data_root_are_shown(sealed: Path, tmp_path: Path) -> None:
    root = sealed / ".local/share"
    for name in ("deepspeech_wer", "deepspeech_wer-german"):
        site(root / name / "site", name)
    (root / "other").mkdir()
    names = ["deepspeech_wer", "deepspeech_wer-german"]
    assert [line.a and line.a.text for line in shown(tmp_path / "o.htm")] == names
    assert [line.a and line.a.text for line in shown(tmp_path / "o.htm", root / "deepspeech_wer")] == names[:1]


def test_what_a_repository_says_is_text(tmp_path: Path) -> None:
    place = site(tmp_path / "a", HOSTILE, headline=(HOSTILE, HOSTILE, "x"))
    beat(place, 0, job={"sha": HOSTILE}, looked_at=HOSTILE)
    [line] = shown(tmp_path / "o.htm", place)
    page = (tmp_path / "o.htm").read_text("utf-8")
    assert page.count("<script>") == 1
    assert "\u202e" not in page
    assert "<b>" not in page
    assert line.a and line.a.text == '"><script>alert(1)</script>\\u202e<b>'
    assert line.select_one(".life.silent")  # nobody knows when its tracker looked


def test_nothing_runs_that_the_policy_does_not_name(tmp_path: Path) -> None:
    shown(tmp_path / "o.htm", site(tmp_path / "a"))
    page = BeautifulSoup((tmp_path / "o.htm").read_bytes(), "html.parser")
    [policy] = page.find_all("meta", {"http-equiv": "Content-Security-Policy"})
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]{44}'; style-src 'sha256-[\w+/=]{44}'; "
        r"base-uri 'none'; form-action 'none'",
        str(policy["content"]),
    )
    assert not page.select("[style], [onclick], link, img, script[src]")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda place: (place / "index.htm").write_text("<p>else"), "expected the page of a site"),
        (lambda place: index_js(place).write_text("window.WER_INDEX={"), "expected WER_INDEX"),
        (lambda place: index_js(place).write_text('window.WER_INDEX={"version":1};\n'), "expected the columns"),
        (lambda place: index_js(place).write_text('window.WER_INDEX={"version":2};\n'), "newer deepspeech_wer"),
        (lambda place: index_js(place).unlink(), "No such file"),
        (lambda place: (place / "js/now.js").write_text("window.WER_NOW={"), "expected WER_NOW"),
        (lambda place: (place / "js/now.js").write_text('window.WER_NOW={"version":9};'), "newer deepspeech_wer"),
    ],
)
def test_what_cannot_be_read_is_said_and_is_no_empty_site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any, said: str
) -> None:
    broken, good = site(tmp_path / "broken"), site(tmp_path / "good")
    damage(broken)
    first, second = shown(tmp_path / "o.htm", broken, good, code=exit_codes.TROUBLE)
    assert said in first.text
    assert "✕ unreadable" in first.text
    assert str(tmp_path) not in first.text
    assert "25.00 %" in second.text
    assert f"{broken}" in capsys.readouterr().out


def index_js(place: Path) -> Path:
    [path] = (place / "js").glob("index.*.js")
    return path


def test_a_directory_without_a_site_is_named(tmp_path: Path) -> None:
    [line] = shown(tmp_path / "o.htm", tmp_path / "nothing", code=exit_codes.TROUBLE)
    assert line.get_text(" ", strip=True).startswith("nothing ✕ unreadable No such file or directory")


def test_a_page_that_cannot_be_written_is_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "missing" / "o.htm"
    assert cli.main(["overview", "--out", str(out), str(site(tmp_path / "a"))]) == exit_codes.TROUBLE
    assert "choose another file with --out" in capsys.readouterr().err


def test_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = site(tmp_path / "a", headline=("better", "Better: 25.00 %.", "x"))
    beat(place, 60)
    assert cli.main(["overview", "--json", str(place), str(tmp_path / "none")]) == exit_codes.TROUBLE
    good, bad = json.loads(capsys.readouterr().out)
    wanted = {"directory": str(place), "name": "speech", "branch": "main", "test_wer": 0.25, "runs": 3, "waiting": 0}
    wanted |= {"verdict": "better", "tracker": "fresh", "training": None, "trouble": None}
    assert wanted.items() <= good.items()
    assert bad["trouble"].startswith("No such file")
    assert not (tmp_path / "overview.htm").exists()


def test_a_course_is_drawn_within_its_box_whatever_the_figures(tmp_path: Path) -> None:
    diverged = [*years(200), done(201, 90.0), failed(202), done(203, 0.0)]
    build(
        archive(diverged, tmp_path / "archive"), tmp_path / "a", project=Project("x", None, "m", "2024-03-01T12:00:00Z")
    )
    [line] = shown(tmp_path / "o.htm", tmp_path / "a")
    text = " ".join(str(path["d"]) for path in line.select("path"))
    points = [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", text)]
    assert len(points) > 30
    assert all(0 <= x <= 220 and 0 <= y <= 44 for x, y in points)
    middle = sorted(y for _, y in points)[len(points) // 2]
    assert 4 < middle < 40  # one run that diverged does not press all others to the ground


def test_a_site_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    place = site(tmp_path / "a")
    with index_js(place).open("r+b") as stream:
        stream.truncate(300_000_000)
    with pytest.raises(Trouble, match="at most"):
        glance.read(place)


@pytest.mark.parametrize(
    ("every_s", "silence_s", "state"),
    [(3600, 4000, "fresh"), (3600, 7000, "late"), (3600, 8000, "silent"), (0, 86_400, "fresh"), (0, 700_000, "silent")],
)
def test_silence_counts_from_what_the_tracker_promised(
    tmp_path: Path, every_s: int, silence_s: int, state: str
) -> None:
    place = site(tmp_path / "a")
    beat(place, silence_s, every=every_s)
    made_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert overview.life(glance.read(place), made_at) == state
