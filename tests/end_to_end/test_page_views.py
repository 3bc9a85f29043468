"""Every view of a site that has everything, for everybody: axe, hostile text in every field, file:// and HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from selenium.webdriver import Keys

from deepspeech_wer.dashboard import Heard, Judged, build
from deepspeech_wer.judging import comparing, kept_scores
from deepspeech_wer.records import Run
from tests import heard_runs
from tests.end_to_end import axe
from tests.end_to_end.test_page import Page
from tests.end_to_end.test_page import driver as driver  # the fixtures
from tests.end_to_end.test_page import page as page
from tests.end_to_end.test_page import served as served
from tests.end_to_end.test_page_answers import GPU
from tests.end_to_end.test_page_faults import LIMIT
from tests.end_to_end.test_page_words import FIELDS
from tests.invented_runs import PROJECT, archive, done, failed, iso

WIDER = """return document.documentElement.scrollWidth <= innerWidth ? []
    : [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth)
        .map((one) => one.outerHTML.slice(0, 90))"""
READY = "return !/Reading (the|both)|^$/.test(document.querySelector('main').innerText)"


def everything(page: Page, text: str = "plain", *, shown: str = "") -> list[Run]:
    """Build a site with all that the page shows; `text` stands in every field that others write.

    `shown` stands where the tracker's own files allow less: as the name of a test set.
    """
    name = shown or text[:40] or "test"
    before = [[f"{text}{n}", text, 1.5, f"{text} said {n}", f"{text} said"] for n in range(3)]
    after = [[*row[:4], f"{text}x {text}" if n else None] for n, row in enumerate(before)]
    made = [heard_runs.run(1, before), heard_runs.run(2, after, parameters={text: text, "dropout_rate": 0.3})]
    made = [
        (told(run, text, place), data.replace(b'"test"', json.dumps(name).encode()))
        for place, (run, data) in enumerate(made)
    ]
    parameters: list[dict[str, Any]] = [{text: number} for number in (3, 4)]
    more = [told(done(n, 0.4 + n / 100, **own), text, n) for n, own in enumerate(parameters, 3)]
    where = heard_runs.places(page.site.parent)
    written = heard_runs.archive(
        where, *made, *((run, None) for run in more), (told(failed(5, text, text), text, 5), None)
    )
    for run in written:
        (run.directory / "err.log").write_bytes(f"{text}\n".encode("utf-8", "replace"))
    for run in written[1:3]:
        (run.directory / "gpu-usage.csv").write_text(GPU)
    measures = kept_scores.update(where, written)
    comparing.update(measures, written, [{"run": run.id, "sigma_pp": 1.0, "sigma_df": 20.0} for run in written])
    heard = Heard(measures.stamp, measures.record, measures.edits, measures.sets)
    project = PROJECT._replace(name=text, branch=text, looked_at=iso(datetime.now(UTC)))
    build(written, page.site, project=project, judged=judged(written, text), heard=heard)
    (page.site / "js/now.js").write_text(f"window.WER_NOW={json.dumps(now(text))};")
    return written


def told(run: Run, text: str, place: int) -> Run:
    merge = run.merge._replace(subject=text, author=text)
    return run._replace(
        number=run.merge.ordinal,
        merge=merge,
        machine=text,
        variables={"ds_x": text if place else "1"},
        processor=text,
    )


def judged(runs: list[Run], text: str) -> Judged:
    start = runs[1].merge.sha
    effect = {"step_pp": 20.04, "interval_pp": [10.0, 30.0], "state": "open"}
    blame = {
        "sha": start, "run": runs[1].id, "author": text, "request": text, "request_url": text, "url": text,
        "files": [[text, 1, None]], "files_count": 1, "parameters": [text],
    }  # fmt: skip
    event = {
        "id": start[:12], "start": start, "culprits": [[start, 0.9], ["f" * 40, 0.1]], "step_pp": 20.04,
        "interval_pp": [10.0, 30.0], "state": "open", "closed_by": None, "retrained": 1, "why": None, "accepted": None,
        "trained": [{"sha": start, "runs": [[runs[1].id, 41.0, None], ["x", None, text]]}], "test_set": text,
        "sets": {"test_wer": effect, text: {**effect, "state": text}}, "range_url": text, "strange": {text: [text]},
    }  # fmt: skip
    event |= {"blame": [blame, {"sha": "f" * 40, "run": None, "url": text, "author": text}]}
    accepted = {
        **event,
        "id": "accepted",
        "start": runs[2].merge.sha,
        "state": "accepted",
        "why": {"who": text, "why": text, "at": text},
    }
    states = dict(zip([run.id for run in runs], ("too few runs", "worse", "unchanged", text, "failed"), strict=True))
    return Judged(
        states,
        dict.fromkeys(states, text),
        headline=("worse", f"Worse: {text}", runs[1].id),
        marks=[(runs[2].id, text, True)],
        noise=text,
        events=[event, accepted],
        bands=dict.fromkeys(states, 2.0),
    )


def now(text: str) -> dict[str, Any]:
    since = datetime.now(UTC) - timedelta(minutes=5)
    job = {
        "sha": text, "subject": text, "author": text, "attempt": 2, "again": False, "started_at": iso(since),
        "ends_at": text, "epoch": 3, "epochs": 9, "curve": [[1, 9.0, 9.5], [2, 8.0, 8.6], [3, 7.1, None]],
    }  # fmt: skip
    return {"version": 1, "looked_at": iso(since), "every": 3600, "waiting": 3, "index": None, "job": job}


def views(runs: list[Run]) -> list[str]:
    a, b = runs[0].id, runs[1].id
    return [
        "#/", "#/?axis=date", "#/regressions", f"#/regressions/{runs[1].merge.sha[:12]}", f"#/run/{b}",
        f"#/run/{runs[4].id}", f"#/compare/{a}/{b}", f"#/utterances/{b}/against/{a}", f"#/utterances/{b}", "#/runs",
        "#/runs?q=said", "#/parameters", "#/parameters/dropout_rate", "#/gpu", f"#/gpu/{b}", "#/nothing",
    ]  # fmt: skip


def read(page: Page, view: str) -> None:
    page.open(view)
    page.until(READY)
    page.until("return window.WER_NOW !== undefined")


@pytest.mark.parametrize(
    ("kind", "width"),
    [*((kind, 390 if number % 2 else 1280) for number, kind in enumerate([*FIELDS, "arrow", "empty"])), ("long", 1280)],
)
def test_any_text_in_any_field_of_any_view_stays_text(page: Page, kind: str, width: int) -> None:
    text = {**FIELDS, "arrow": "-1 -> -29.00", "empty": ""}[kind]
    runs = everything(page.show(width=width, dark=width == 390), text, shown="test" if kind == "surrogate" else "")
    for view in views(runs):
        read(page, view)
        assert (
            page.js("return document.querySelectorAll('main img, main script, main style, header script').length") == 0
        )
        assert page.js(WIDER) == [], view
        assert not page.js("return document.querySelector('main').innerText.includes('cannot be drawn')"), view
        assert page.faults() == [], view


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_axe_finds_nothing_where_there_is_everything(page: Page, width: int, dark: bool) -> None:
    runs = everything(page.show(width=width, height=844, dark=dark))
    found = {}
    for view in views(runs):
        read(page, view)
        found[view] = axe.faults(page.driver)
    assert not any(found.values()), found


def test_every_view_is_whole_over_http(served: Page) -> None:
    runs = everything(served)
    for view in views(runs):
        read(served, view)
        assert not served.js("return document.querySelector('main').innerText.includes('cannot be drawn')"), view
    assert served.faults() == []


def test_a_history_that_throws_after_100_calls_stops_no_view(page: Page) -> None:
    runs = everything(page)
    page.open()
    page.js(LIMIT, 100)
    page.js("for (let n = 0; n < 120; n++) try { history.replaceState(history.state, '') } catch {}")
    for view in views(runs):
        page.js("location.hash = arguments[0]", view)
        page.until(READY)
        assert page.js("return document.querySelector('main').children.length") > 0
    page.js("location.hash = '#/runs'")
    page.until("return document.querySelector('#search')")
    page.driver.find_element("id", "search").send_keys("nothing like this")
    page.until("return document.querySelector('main').innerText.includes('No run matches')")


def test_the_keyboard_alone_leads_from_the_front_to_the_culprits_alignment(page: Page) -> None:
    everything(page)
    page.open()
    page.js("document.activeElement.blur()")
    for text, arrived in (
        ("The evidence", "return location.hash === '#/regressions'"),
        ("words that changed", "return document.querySelectorAll('.utterance dl').length > 0"),
    ):
        tab_to(page, text)
        page.driver.switch_to.active_element.send_keys(Keys.ENTER)
        page.until(arrived)
        page.until(READY)
        page.until("return document.activeElement === document.querySelector('main')")  # then Tab goes on from its top
    assert "not heard" in page.js("return document.querySelector('.utterance dl').textContent")


def tab_to(page: Page, text: str) -> None:
    for _ in range(80):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        if page.js("return document.activeElement.innerText.includes(arguments[0])", text):
            return
    raise AssertionError(f"no way by Tab to {text}")


# -- words and figures


def test_sentences_have_arrows_and_minus_signs(page: Page) -> None:
    runs = everything(page, "-29.00 pp (95 %: -36.21 to -.5), x-1 2024-03-01 1e-05 a -> b")
    whole = "−29.00 pp (95 %: −36.21 to −.5), x-1 2024-03-01 1e-05 a → b"
    read(page, "#/")
    assert f"Worse: {whole}" in page.text(".headline")
    assert whole in page.text(".noise")
    read(page, f"#/run/{runs[1].id}")
    assert whole in page.text(".lead + .lead")


def test_an_event_of_several_test_sets_says_what_it_did_on_each(page: Page) -> None:
    everything(page, "noisy")
    read(page, "#/regressions")
    page.until("return document.querySelector('.regression').innerText.includes('Test sets')")
    text = page.text(".regression").replace("\n", " ")
    assert "test +20.04 pp (95 %: 10.00 to 30.00) ▲ open" in text
    assert "noisy +20.04 pp (95 %: 10.00 to 30.00)" in text
    assert "step_pp" not in text


def test_runs_from_a_clock_in_the_future_are_not_of_the_last_30_days(page: Page) -> None:
    today = datetime.now(UTC)
    starts = [
        today - timedelta(days=40),
        today - timedelta(days=3),
        today + timedelta(days=20),
        today + timedelta(days=4000),
    ]
    page.build([done(number, 0.4, started=start) for number, start in enumerate(starts, 1)]).open()
    assert "1 in the last 30 days" in page.text(".tiles")
    page.open("#/?axis=date")
    page.press("30 d")
    page.until("return location.hash.includes('to=')")
    assert float(page.js("return new URLSearchParams(location.hash.split('?')[1]).get('to')")) < today.timestamp() + 600


# -- what fits


@pytest.mark.parametrize("width", [390, 700, 900, 1041, 1141, 1271, 1280, 1440, 1600, 1920])
def test_the_table_of_runs_needs_no_sideways_scrolling(page: Page, width: int) -> None:
    runs = [run._replace(merge=run.merge._replace(ordinal=10_000 + n)) for n, run in enumerate(many())]
    states = {run.id: "no change seen" for run in runs}
    page.show(width=width).build(runs, judged=Judged(states, {}))
    for view in ("#/runs", "#/"):
        page.open(view)
        assert page.js(
            "const { scrollWidth, clientWidth } = document.querySelector('.scroll'); return scrollWidth <= clientWidth"
        )
        assert page.js("return document.documentElement.scrollWidth <= innerWidth")


def many() -> list[Run]:
    return [done(number, 0.4 + number % 3 / 10, dropout_rate=number % 2) for number in range(1, 9)]


@pytest.mark.parametrize("width", [320, 390, 641, 860, 1000])
def test_every_view_has_its_link_in_sight(page: Page, width: int) -> None:
    page.show(width=width, height=844).build([done(1, 0.5)], name="a-name-of-some-length").open()
    places = page.js("return [...document.querySelectorAll('#nav a')].map((a) => a.getBoundingClientRect())")
    assert len(places) == 6
    assert all(place["left"] >= 0 and place["right"] <= width for place in places)
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")
    assert page.js("return document.getElementById('theme').getBoundingClientRect().top") < 40


def test_samples_without_neighbours_are_seen(page: Page) -> None:
    run = done(1, 0.5)
    page.build([run])
    usage = {
        "every": 5,
        "count": 200,
        "gpus": [{"index": 0, "gpu_percent": [None if n % 2 else 50.0 for n in range(200)]}],
    }
    page.open(f"#/run/{run.id}")
    page.js("document.querySelector('main').append(wer.gpuCharts(arguments[0]))", usage)
    assert page.js("return document.querySelectorAll('main > .columns circle').length") == 100


# -- sites that lack something, or have much of it


def test_where_no_run_was_good_the_page_says_so_first(page: Page) -> None:
    page.build([failed(number, "exit 1") for number in range(1, 4)]).open()
    assert "No run was good so far, the latest failed: exit 1" in page.text(".banner")


def test_no_band_is_explained_where_none_is_drawn(page: Page) -> None:
    page.build([done(1, 0.4), done(2, 0.5)]).open()
    assert "95 % interval" not in page.text(".chart-card .hint")


@pytest.mark.parametrize(
    ("subject", "author", "shown"),
    [
        ("Merge pull request #12 from eve/\u202egnp.exe", "Eve", "#12 gnp.exe, by eve"),
        ("Fix\u2066it", "\u202eeve", "Fixit, by eve"),
        ("שיפור המודל", "Ben", "\u2068שיפור המודל\u2069, by Ben"),
    ],
)
def test_a_subject_turns_nothing_around(page: Page, subject: str, author: str, shown: str) -> None:
    run = done(1, 0.4)
    page.build([run._replace(merge=run.merge._replace(subject=subject, author=author))]).open("#/runs")
    page.until("return document.querySelector('td.subject').textContent.length > 0")
    assert page.js("return document.querySelector('td.subject').textContent") == shown


def test_many_parameters_are_folded(page: Page) -> None:
    parameters: list[dict[str, Any]] = [{f"a_name_{n:03}": number for n in range(60)} for number in (1, 2)]
    runs = [done(number, 0.4, **own) for number, own in enumerate(parameters, 1)]
    page.build(runs).open(f"#/run/{runs[1].id}")
    page.until("return document.querySelector('main').innerText.includes('What changed')")
    assert "and 48 more" in page.text()
    assert page.js("return document.querySelector('details .plain').checkVisibility()") is False
    page.open(f"#/compare/{runs[0].id}/{runs[1].id}")
    page.until(READY)
    assert "60 parameters" in page.text()
    page.open("#/parameters")
    assert "1 & 1 & 1 & …" in page.js("return document.querySelector('.plot').getAttribute('aria-label')")


@pytest.mark.parametrize("width", [390, 1280])
def test_gpus_that_tell_different_things_have_their_own_charts(page: Page, width: int) -> None:
    [run, *_] = runs = [done(1, 0.5), done(2, 0.4)]
    lines = ["timestamp, index, gpu_percent, memory_controller_percent, memory_used_mib, memory_total_mib, "
             "temperature_celsius, power_watts"]  # fmt: skip
    for minute in range(50):
        at = f"2024/03/01 00:{minute:02}:00.000"
        lines += [
            f"{at}, 0, 9{minute % 9}, [N/A], 9000, 24576, 61, [N/A]",
            f"{at}, 1, [N/A], 40, 8000, 24576, [N/A], 200",
        ]
    archived = archive(runs, page.site.parent / "archive")
    (archived[0].directory / "gpu-usage.csv").write_text("\n".join(lines))
    build(archived, page.site, project=PROJECT)
    page.show(width=width).open(f"#/gpu/{run.id}")
    page.until("return document.querySelectorAll('.curve[d*=L]').length >= 6")
    text = page.text()
    assert "GPU busy, GPU 1: not available" in text
    assert "Memory controller busy, GPU 0: not available" in text
    assert page.js(
        "const { scrollWidth, clientWidth } = document.querySelector('.scroll'); return scrollWidth <= clientWidth"
    )
