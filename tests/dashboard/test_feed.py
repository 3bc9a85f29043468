"""The feed and the badge: what they say, and that nothing that others write breaks them."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import badge, feed, site, site_files
from deepspeech_wer.dashboard.judged import Judged
from deepspeech_wer.dashboard.news import Known
from deepspeech_wer.records import Run
from tests.invented_runs import PROJECT, archive, done, failed

ATOM = "{http://www.w3.org/2005/Atom}"
PUBLIC = PROJECT._replace(website="https://wer.example.com/deep")
# Each of these would break XML, forge a line, turn the direction of writing or close a tag.
HOSTILE = (
    "]]></title><script>&\"'",
    "".join(map(chr, (*range(1, 32), 127, *range(0x80, 0xA0)))),
    "\u202eevil\u2066\u2067\u2068\u2069\u202a\u202b\u202d\u200f\u061c",
    "\ud800 \udfff \udc80",
    "\ufffe\uffff\U0001ffff\ufdd0 \u2028\u2029\u0085",
    "<!ENTITY x SYSTEM 'file:///etc/passwd'> &x; <?xml?>",
    "é" * 5000,
)
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def parsed(text: bytes | str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - we made it


def verdict(run: Run, state: str, effect: float | None = None, **more: Any) -> dict[str, Any]:
    interval = None if effect is None else [effect - 4.5, effect + 4.5]
    plain = {"sha": run.merge.sha, "run": run.id, "verdict": state, "reason": "a reason", "retrained": 0}
    return plain | {"effect_pp": effect, "interval_pp": interval, "culprits": []} | more


def event(bad: Run, state: str, closed_by: Run | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": bad.merge.sha[:12],
        "start": bad.merge.sha,
        "culprits": [[bad.merge.sha, 1.0]],
        "step_pp": 28.7,
        "interval_pp": [24.2, 33.2],
        "state": state,
        "closed_by": closed_by.merge.sha if closed_by else None,
        "retrained": 2,
    } | more


GOOD, BAD, FIX = done(1, 0.122), done(2, 0.409, dropout_rate=0.3), done(3, 0.121)
QUIET, WORSE = verdict(GOOD, "too few runs"), verdict(BAD, "worse", 28.7)
RECOVERED = verdict(FIX, "recovered", -28.8)


def known(runs: list[Run], verdicts: list[dict[str, Any]], events: list[dict[str, Any]]) -> Known:
    return Known({"verdicts": verdicts, "events": events}, {run.id: run for run in runs}.get, PublishedLogs("trimmed"))


def entries(runs: list[Run], verdicts: list[dict[str, Any]], events: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the entries of the valid feed: title, id, updated, link."""
    return read(feed.atom(runs, known(runs, verdicts, events), PUBLIC))


def read(text: bytes) -> list[dict[str, str]]:
    root = parsed(text)
    assert root.tag == f"{ATOM}feed"
    for name in ("title", "id", "updated"):
        assert len(root.findall(f"{ATOM}{name}")) == 1
    found = []
    for entry in root.findall(f"{ATOM}entry"):
        values = {name: entry.findtext(f"{ATOM}{name}") or "" for name in ("title", "id", "updated", "content")}
        values["link"] = next(link.attrib["href"] for link in entry.findall(f"{ATOM}link"))
        values["state"] = next(one.attrib["term"] for one in entry.findall(f"{ATOM}category"))
        assert entry.findtext(f"{ATOM}author/{ATOM}name")
        datetime.fromisoformat(values["updated"])
        assert values["id"].startswith("urn:uuid:")
        found.append(values)
    ids = [one["id"] for one in found]
    assert len(set(ids)) == len(ids)
    times = [one["updated"] for one in found]
    assert times == sorted(times, reverse=True)
    assert root.findtext(f"{ATOM}updated") >= max(times, default="")
    return found


def test_it_tells_of_a_regression_and_then_of_its_end() -> None:
    (worse,) = entries([GOOD, BAD], [QUIET, WORSE], [event(BAD, "open")])
    assert worse["state"] == "worse"
    assert worse["title"] == (
        "worse: +28.7 pp (95 %: 24 to 33), dropout_rate 0.05 -> 0.3: "
        f'{BAD.merge.sha[:12]} "{BAD.merge.subject}" by Reuben Morais'
    )
    assert worse["link"] == f"https://wer.example.com/deep/#/run/{BAD.id}"
    assert "trained again 2 times" in worse["content"]
    after = entries([GOOD, BAD, FIX], [QUIET, WORSE, RECOVERED], [event(BAD, "recovered", FIX)])
    assert [one["state"] for one in after] == ["recovered", "worse"]
    assert after[1]["id"] == worse["id"]
    assert after[0]["title"].startswith(
        f"recovered: -28.8 pp (95 %: -33 to -24), the level before {BAD.merge.sha[:12]}"
    )


def test_what_one_merge_ended_is_one_entry_that_names_all() -> None:
    other, fix = done(4, 0.3), done(5, 0.121)
    runs = [GOOD, other, BAD]
    events = [event(other, "recovered", fix), event(BAD, "recovered", fix)]
    told = [QUIET, verdict(other, "worse", 9.0), WORSE, verdict(fix, "recovered", -28.8)]
    found = entries([*runs, fix], told, events)
    assert [one["state"] for one in found] == ["recovered", "worse", "worse"]
    assert f"the levels before {other.merge.sha[:12]} and {BAD.merge.sha[:12]} are back: " in found[0]["title"]
    assert all(f"may have done it: {one.merge.sha}" in found[0]["content"] for one in (other, BAD))


def test_it_tells_who_accepted_a_step_and_why() -> None:
    decision = {"who": "ada", "why": "the new corpus; password=hunter-two", "at": "2026-02-03T04:05:06Z"}
    found = entries([GOOD, BAD], [QUIET, WORSE], [event(BAD, "accepted", accepted=decision)])
    assert [one["state"] for one in found] == ["accepted", "worse"]
    assert found[0]["updated"] == "2026-02-03T04:05:06Z"
    assert found[0]["title"].startswith("accepted: +28.7 pp is the new level, says ada: the new corpus; password=****")
    assert "hunter-two" not in str(found)


def test_it_tells_of_failures_and_of_the_first_good_run_after_them() -> None:
    runs = [GOOD, failed(2, "exit 3", "no such layer"), failed(3), done(4, 0.12), done(5, 0.12)]
    found = entries(runs, [], [])
    assert [one["state"] for one in found] == ["working again", "failed", "failed"]
    assert "failed: exit 3: no such layer: " in found[2]["title"]


def test_what_is_open_to_doubt_and_what_made_it_better() -> None:
    events = [event(BAD, state) for state in ("suspect", "dismissed", "cannot tell")]
    assert entries([GOOD, BAD], [QUIET, verdict(BAD, "suspect", 2.0)], events) == []
    (better,) = entries([GOOD, FIX], [QUIET, verdict(FIX, "better", -1.2)], [])
    assert better["title"].startswith("better: -1.2 pp (95 %: -5.7 to 3.3): ")


def test_it_is_bounded_and_starts_with_the_newest() -> None:
    runs = [failed(number) for number in range(1, 500)]
    found = entries(runs, [], [])
    assert len(found) == 50
    assert found[0]["link"].endswith(runs[-1].id)


def test_without_runs_it_is_a_valid_feed() -> None:
    assert entries([], [], []) == []


def test_without_a_public_address_links_lead_to_the_page_beside_it() -> None:
    (worse,) = read(feed.atom([GOOD, BAD], known([GOOD, BAD], [QUIET, WORSE], [event(BAD, "open")]), PROJECT))
    assert worse["link"] == f"index.htm#/run/{BAD.id}"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_feed_or_badge(text: str) -> None:
    odd = BAD._replace(merge=BAD.merge._replace(subject=text, author=text), failure="exit 1", detail=text)
    odd = odd._replace(machine=text)
    lost = failed(3, "exit 1", text)._replace(merge=odd.merge._replace(sha="c" * 40))
    decision = {"who": text, "why": text, "at": text}
    project = PROJECT._replace(name=text, branch=text, website="https://x.example/" + text.replace(" ", "")[:200])
    told = known([GOOD, odd, lost], [QUIET, {**WORSE, "reason": text}], [event(odd, "accepted", accepted=decision)])
    data = feed.atom([GOOD, odd, lost], told, project)
    assert len(read(data)) == 3
    assert not FORBIDDEN.search(data.decode())
    assert len(data) < 20_000
    image = badge.svg([GOOD, odd], text, project)
    parsed(image)
    assert not FORBIDDEN.search(image.decode())


def test_secrets_of_the_settings_are_in_no_entry() -> None:
    lost = failed(2, "exit 1", "cannot log in with tr0ub4dor at /home/ada/x")
    shown = Known({}, {lost.id: lost}.get, PublishedLogs("full", ("tr0ub4dor",)))
    text = feed.atom([lost], shown, PUBLIC).decode()
    assert "cannot log in with ******** at ~/x" in text
    hidden = Known({}, {lost.id: lost}.get, PublishedLogs("none"))
    assert "cannot log in" not in feed.atom([lost], hidden, PUBLIC).decode()


def test_the_badge_says_rate_and_verdict() -> None:
    text = badge.svg([GOOD, BAD, failed(3)], "worse", PROJECT).decode()
    root = parsed(text)
    title = "DeepSpeech: WER 40.90 % · worse"
    assert root.attrib["aria-label"] == title
    assert root.findtext("{http://www.w3.org/2000/svg}title") == title
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["WER", "40.90 % · worse"]
    assert b"no run yet" in badge.svg([], None, PROJECT)


def test_the_badge_of_an_accepted_step_is_neither_red_nor_green() -> None:
    colours = {
        state: parsed(badge.svg([GOOD, BAD], state, PROJECT)).findall("{*}rect")[1].attrib["fill"]
        for state in ("worse", "accepted", "better", "no change seen")
    }
    assert len(set(colours.values())) == 4
    red, green, blue = (int(colours["accepted"][at : at + 2], 16) for at in (1, 3, 5))
    assert red == green == blue


def test_a_site_has_both_and_publishes_them(tmp_path: Path) -> None:
    runs = archive([GOOD, BAD], tmp_path / "runs")
    record = {"verdicts": [QUIET, WORSE], "events": [event(BAD, "open")]}
    judged = Judged(headline=("worse", "Worse.", BAD.id), record=record)
    site.build(runs, tmp_path / "site", project=PUBLIC, judged=judged)
    assert {"feed.xml", "badge.svg"} <= {path.as_posix() for path in site_files(tmp_path / "site")}
    assert '<link rel="alternate" type="application/atom+xml" href="feed.xml"' in (
        tmp_path / "site/index.htm"
    ).read_text("utf-8")
    before = {name: (tmp_path / "site" / name).stat().st_mtime_ns for name in ("feed.xml", "badge.svg")}
    site.build(runs, tmp_path / "site", project=PUBLIC._replace(looked_at="2030-01-01T00:00:00Z"), judged=judged)
    assert before == {name: (tmp_path / "site" / name).stat().st_mtime_ns for name in before}
