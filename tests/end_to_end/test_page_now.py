"""What runs now, on a page that nobody loads anew."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.end_to_end.test_page import HOSTILE, Page
from tests.end_to_end.test_page import driver as driver  # the fixtures
from tests.end_to_end.test_page import page as page
from tests.end_to_end.test_page import served as served
from tests.invented_runs import done, iso

JOB = {
    "sha": "ab" * 20, "subject": "Merge pull request #7 from ben/dropout", "author": "Ben",
    "attempt": 2, "again": False,
    "started_at": "2024-03-01T12:00:00Z", "ends_at": "2024-03-01T14:00:00Z", "epoch": 12, "epochs": 30,
    "curve": [[n, 90 / n, 95 / n if n % 2 else None] for n in range(1, 13)],
}  # fmt: skip


def tell(page: Page, *, ago_s: float = 60, every: int = 3600, job: dict[str, Any] | None = None, **more: Any) -> None:
    looked = iso(datetime.now(UTC) - timedelta(seconds=ago_s))
    record = {"version": 1, "looked_at": looked, "every": every, "waiting": 3, "index": None, "job": job, **more}
    (page.site / "js/now.js").write_text(f"window.WER_NOW={json.dumps(record)};")


def state(page: Page) -> str:
    page.until("return window.WER_NOW !== undefined")
    page.until("return document.querySelector('.now').innerText.includes('looked')")
    return str(page.js("return document.getElementById('freshness').className")).removeprefix("freshness ")


@pytest.mark.parametrize(
    ("ago_s", "every", "expected"),
    [
        (60, 3600, "fresh"),
        (3600, 3600, "fresh"),
        (4400, 3600, "fresh"),
        (5400, 3600, "stale"),
        (7300, 3600, "very-stale"),
        (3 * 86_400, 86_400, "very-stale"),
        (86_400, 86_400, "fresh"),
        (2 * 3600, 900, "very-stale"),
        (3 * 86_400, 0, "stale"),
    ],
)
def test_the_colour_follows_the_trackers_own_rhythm(page: Page, ago_s: int, every: int, expected: str) -> None:
    """A quiet weekend is green, a dead tracker is red within two heartbeats."""
    page.build([done(1, 0.5)])
    tell(page, ago_s=ago_s, every=every)
    assert state(page.open()) == expected
    assert ("no news" in page.text("#freshness")) == (expected != "fresh")


def test_a_running_job_shows_epoch_end_and_losses(page: Page) -> None:
    page.build([done(1, 0.5)])
    tell(page, job=JOB)
    assert state(page.open()) == "fresh"
    text = page.text(".now")
    assert "Training: abababab #7 dropout, by ben, 2nd attempt" in text.replace("\n", "")
    assert "epoch 12 of 30 (40 %)" in text
    assert "ends about 2024-03-01 14:00 UTC" in text
    assert "3 merges wait." in text
    assert page.js("return document.querySelectorAll('.now .curve[d^=M]').length") >= 2
    assert "training" in page.text("#freshness")


def test_what_trains_beside_it_on_a_cluster_is_shown(page: Page) -> None:
    page.build([done(1, 0.5)])
    others = [{"sha": "cd" * 20, "subject": "Merge <b>beam</b>", "author": "eve"}, 7]
    tell(page, job={**JOB, "beside": others})
    assert state(page.open()) == "fresh"
    assert "Beside it: cdcdcdcd" in page.text(".now").replace("\n", "")
    assert "<b>beam</b>" in page.text(".now")
    tell(page, job={**JOB, "beside": "x"})
    assert state(page.open()) == "fresh"


def test_an_idle_tracker_says_so(page: Page) -> None:
    page.build([done(1, 0.5)])
    tell(page, waiting=0)
    state(page.open())
    assert "Nothing is being trained." in page.text(".now")
    assert "No merge waits." in page.text(".now")


@pytest.mark.parametrize(
    "text",
    ["", "window.WER_NOW = 7;", "window.WER_NOW = {version: 2};", "window.WER_NOW = {version: 1, looked_at: []}"],
)
def test_what_cannot_be_read_is_left_out(page: Page, text: str) -> None:
    page.build([done(1, 0.5)])
    (page.site / "js/now.js").write_text(text)
    page.open()
    assert page.js("return document.querySelector('.now').hidden")
    assert "50.00" in page.text(".tiles")


@pytest.mark.parametrize(
    "job", [{}, {"curve": [[None, None, None]]}, dict.fromkeys(JOB, HOSTILE), dict.fromkeys(JOB), {**JOB, "curve": 7}]
)
def test_a_job_that_is_damaged_or_hostile_breaks_nothing(page: Page, job: dict[str, Any]) -> None:
    page.build([done(1, 0.5)])
    tell(page, job=job)
    page.open()
    page.until("return !document.querySelector('.now').hidden")
    assert page.js("return document.querySelectorAll('main img, main script').length") == 0
    assert "50.00" in page.text(".tiles")


def test_the_page_follows_without_being_loaded_anew(served: Page) -> None:
    served.build([done(1, 0.5)])
    tell(served, waiting=0)
    state(served.open())
    served.js("window.stays = true")
    tell(served, job=JOB)
    served.js("wer.loadNow(() => document.dispatchEvent(new Event('wer:now')), () => {})")
    served.until("return document.querySelector('.now').innerText.includes('epoch 12')")
    assert served.js("return window.stays")


def test_a_newer_site_is_loaded_once_and_not_under_a_visitors_hands(served: Page) -> None:
    served.build([done(1, 0.5)])
    tell(served, index="js/index.0.js")
    served.open("#/runs")
    served.until("return sessionStorage.getItem('wer-renewed') === 'js/index.0.js'")
    served.js("window.stays = true")
    served.until("return document.querySelector('h1').innerText === 'Runs'")  # the address is kept
    served.js("wer.now.renew()")
    assert served.js("return window.stays")
    tell(served, index="js/index.1.js")
    served.js("window.dispatchEvent(new Event('keydown'))")
    served.js("wer.loadNow(() => wer.now.renew(), () => {})")
    served.until("return WER_NOW.index === 'js/index.1.js'")
    assert served.js("return window.stays")
