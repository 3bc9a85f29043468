"""Faults that the page had, each with a test that failed: addresses, charts, long and odd texts, focus, print."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from deepspeech_wer.dashboard import Judged
from deepspeech_wer.records import Run
from tests.end_to_end.test_page import Page, hyper_js, record, rows
from tests.end_to_end.test_page import driver as driver  # the fixtures
from tests.end_to_end.test_page import page as page
from tests.invented_runs import EPOCH, done, failed, iso, years
from tests.invented_verdicts import CULPRIT, history, verdicts

SHA256 = "sha256:" + "ab12" * 16


def signed(run: Run, signature: str) -> Run:
    assert run.hyper
    return run._replace(hyper={**run.hyper, "results": {**run.hyper["results"], "signature": signature}})


# -- the address


LIMIT = """
window.calls = 0;
const real = history.replaceState.bind(history);
history.replaceState = (...what) => {
    if (++window.calls > arguments[0]) throw new DOMException("too many calls", "SecurityError");
    return real(...what);
};
"""


@pytest.mark.parametrize("view", ["#/", "#/runs"])
def test_a_storm_of_changes_calls_the_history_rarely(page: Page, view: str) -> None:
    page.build(years(300)).open(view)
    page.js(LIMIT, 100)
    start = time.monotonic()
    target = page.driver.find_element(By.CSS_SELECTOR, "[role=slider]" if view == "#/" else "#search")
    for _ in range(15):
        target.send_keys(*[Keys.ARROW_RIGHT] * 10 if view == "#/" else "reuben epo")
    assert page.js("return window.calls") <= 3 + (time.monotonic() - start) / 0.4
    page.until("return location.hash.length > 10")


def test_a_history_that_throws_stops_nothing(page: Page) -> None:
    """Safari throws after 100 calls in 30 seconds; version 1's chart froze."""
    page.build(years(300)).open()
    page.js(LIMIT, 0)
    handle = page.driver.find_element(By.CSS_SELECTOR, "[role=slider]")
    handle.send_keys(*[Keys.PAGE_UP] * 3)
    assert int(handle.get_attribute("aria-valuenow") or 0) == pytest.approx(90, abs=2)
    handle.send_keys(*[Keys.PAGE_UP] * 3)
    assert int(handle.get_attribute("aria-valuenow") or 0) == pytest.approx(180, abs=2)
    page.js("location.hash = '#/runs'")
    page.until("return document.querySelectorAll('tbody tr').length === 100")
    page.js("location.hash = '#/parameters'")
    page.until("return document.querySelector('h1').innerText === 'Hyper-parameters'")


def test_the_last_state_reaches_the_address(page: Page) -> None:
    page.build(years(300)).open("#/runs")
    page.driver.find_element(By.ID, "search").send_keys("epochs=30")
    page.until("return location.hash === '#/runs?q=epochs%3D30'")


def test_a_state_that_waits_does_not_follow_to_another_view(page: Page) -> None:
    page.build(years(300)).open("#/runs")
    page.driver.find_element(By.ID, "search").send_keys("epochs=30")
    page.js("location.hash = '#/parameters'")
    time.sleep(0.6)
    assert page.js("return location.hash") == "#/parameters"


def test_the_legend_is_in_the_permalink(page: Page) -> None:
    page.build(years(60)).open()
    before = page.drawn("validation")
    page.press("Validation")
    page.press("Train")
    page.until("return location.hash === '#/?hide=validation,train'")
    page.open("#/?hide=validation,train,nonsense")
    assert page.js("return document.querySelectorAll('.legend [aria-pressed=false]').length") == 2
    page.until(f"return {before} > 0")
    time.sleep(0.1)
    assert page.drawn("validation") < before / 10


def test_the_axis_switch_keeps_zoom_legend_and_focus(page: Page) -> None:
    page.build(years(300)).open("#/?from=100&to=200&hide=train")
    page.until("return document.querySelector('.range-window').style.width !== '100%'")
    page.press("by date")
    page.until("return location.hash.includes('axis=date') && location.hash.includes('from=')")
    assert "hide=train" in page.js("return location.hash")
    assert page.js("return document.activeElement.innerText") == "by date"
    page.until("return document.querySelector('.range-window').style.width !== '100%'")
    page.press("by merge")
    page.until("return !location.hash.includes('axis=')")
    query = page.js("return Object.fromEntries(new URLSearchParams(location.hash.split('?')[1]))")
    assert float(query["from"]) == pytest.approx(100, abs=2)
    assert float(query["to"]) == pytest.approx(200, abs=2)
    assert page.js("return document.querySelectorAll('.uplot').length") == 1


def test_back_returns_to_the_place_and_the_link_that_one_left(page: Page) -> None:
    page.build(years(90)).open("#/runs")
    link = page.driver.find_elements(By.CSS_SELECTOR, "tbody a")[70]
    href = page.js("arguments[0].scrollIntoView({ block: 'center' }); return arguments[0].getAttribute('href')", link)
    page.until("return scrollY > 1000")
    left = page.js("return scrollY")
    time.sleep(0.1)
    link.click()
    page.until("return document.querySelector('main').innerText.includes('Learning curves')")
    assert page.js("return scrollY") == 0
    page.driver.back()
    page.until("return document.querySelectorAll('tbody tr').length === 90")
    page.until(f"return Math.abs(scrollY - {left}) < 3")
    assert page.js("return document.activeElement.getAttribute('href')") == href
    page.driver.forward()
    page.until("return location.hash.startsWith('#/run/')")
    page.until("return scrollY === 0")


def test_next_keeps_the_focus(page: Page) -> None:
    page.build(years(230)).open("#/runs")
    page.press("Next ›")
    assert page.js("return document.activeElement.innerText") == "Next ›"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert len(rows(page)) == 30
    assert page.js("return document.activeElement.className") == "scroll"  # the last page: the button is off


# -- charts


def test_an_interval_that_is_cut_has_no_cap(page: Page) -> None:
    """21.8 ± 41 looked like ± 1.3: two runs far apart, beside values that are close."""
    close = [done(n, 0.2 + n / 1000, beam=n % 3) for n in range(1, 13)]
    far = [done(20, 0.1, beam=9), done(21, 0.3, beam=9)]
    page.build([*close, *far]).open("#/parameters/beam")
    paths = page.js(
        "return [...document.querySelectorAll('.plot-bar')].map((one) => [one.classList.length, one.getAttribute('d')])"
    )
    assert [classes for classes, _ in paths] == [1, 1, 1, 2]
    assert all(path.count("h8") == 2 for classes, path in paths if classes == 1)
    assert all("h8" not in path for classes, path in paths if classes == 2)


def test_tied_parameters_show_their_own_values(page: Page) -> None:
    runs = [done(1, 0.5), done(2, 0.4, train_batch_size=32, total_batches_train=128), done(3, 0.41)]
    page.build(runs).open("#/parameters/train_batch_size")
    heads = page.js("return [...document.querySelectorAll('thead th')].map((one) => one.innerText)")
    assert heads[:2] == ["total_batches_train", "train_batch_size"]
    assert [row.split()[:2] for row in rows(page)] == [["128", "32"], ["256", "16"]]
    assert "128 & 32" in page.js("return document.querySelector('.plot').textContent")


def test_nothing_is_the_lowest_where_intervals_overlap(page: Page) -> None:
    runs = [done(n, 0.4 + (n % 5) / 100 + (n % 2) / 1000, beam=n % 2, good=n > 10) for n in range(1, 11)]
    apart = [done(n, (0.2 if n % 2 else 0.4) + (n % 3) / 1000, dropout_rate=n % 2) for n in range(11, 21)]
    page.build(runs).open("#/parameters/beam")
    assert "intervals overlap" in page.text()
    assert "lowest" not in page.text()
    page.build(apart).open("#/parameters/dropout_rate")
    assert "lowest at 1" in page.text()


def test_parameters_have_one_scale_and_the_number_of_runs(page: Page) -> None:
    runs = [done(n, 0.4 + n % 2 / 10, beam=n % 2, epochs=30 + n % 3) for n in range(1, 13)]
    page.build(runs).open("#/parameters")
    scales = page.js(
        """return [...document.querySelectorAll('.plot')].map((one) =>
            [...one.querySelectorAll('text[text-anchor=end]')].map((text) => text.textContent).join())"""
    )
    assert len(scales) == 2
    assert len(set(scales)) == 1
    assert "n 6" in page.js("return document.querySelector('.plot').textContent")


def test_the_best_is_of_the_same_test_set_and_the_line_is_broken(page: Page) -> None:
    runs = [signed(done(1, 0.1), "a"), signed(done(2, 0.12), "a"), signed(done(3, 0.5), "b"), signed(done(4, 0.6), "b")]
    page.build(runs).open()
    tiles = page.text(".tiles")
    assert "Best with this test set" in tiles
    assert "50.00 %" in page.text(".tile:nth-child(2)").replace("\n", "")
    assert "first of this test set" in page.open(f"#/run/{runs[2].id}").text(".tiles").replace("its", "this")
    assert page.open().js("return wer.lines.breaks(wer.decode.fromIndex(WER_INDEX))") == [2]
    whole = page.drawn("test")
    assert page.build([done(n, rate) for n, rate in enumerate((0.1, 0.12, 0.5, 0.6), 1)]).open().drawn("test") > whole


@pytest.mark.parametrize("name", ["test_wer", "last_validation_wer", "last_train_wer"])
def test_a_record_of_2016_with_an_unmeasured_0_shows_no_perfect_result(page: Page, name: str) -> None:
    old = record("2016-11-16T10:00:00.123456", 0.36)
    old["results"][name] = 0.0
    page.only_hyper_js(hyper_js([record("2016-11-15T10:00:00", 0.4), old])).open("#/runs")
    assert " 0.00 %" not in page.text().replace("\t", " ")
    assert " 0.00 %" not in page.open().text().replace("\n", " ")


def test_a_0_that_the_tracker_measured_is_shown(page: Page) -> None:
    page.build([done(1, 0.5), done(2, 0.0)]).open("#/runs")
    assert "0.00 %" in rows(page)[0]


def test_the_test_line_is_drawn_over_the_others(page: Page) -> None:
    runs = [done(n, 0.4) for n in range(1, 9)]
    for run in runs:
        assert run.hyper
        run.hyper["results"]["last_validation_wer"] = run.hyper["results"]["test_wer"]
    page.build(runs).open()
    assert page.drawn("test") > 500
    assert page.drawn("validation") < page.drawn("test") / 20


@pytest.mark.parametrize("axis", ["#/", "#/?axis=date"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_label_of_the_axis_is_cut(page: Page, axis: str, width: int) -> None:
    page.show(width=width).build(years(1001)).open(axis)  # a tick at the last run
    cut = page.js(
        """const canvas = document.querySelector(".chart canvas"), pen = canvas.getContext("2d");
        const { data } = pen.getImageData(canvas.width - 2, canvas.height - 30, 2, 30);
        return data.some((value, k) => k % 4 === 3 && value > 60);"""
    )
    assert not cut


def test_by_date_a_busy_day_fills_the_chart(page: Page) -> None:
    """An hour of padding squeezed ten merges of ten minutes into the middle."""

    runs = [done(n, 0.4, started=EPOCH + timedelta(minutes=n)) for n in range(1, 11)]
    page.build(runs).open("#/?axis=date")
    low, first, last, high = page.js(
        """const { low, high, xs } = wer.axis(wer.decode.fromIndex(WER_INDEX), "date");
        return [low, xs[0], xs[xs.length - 1], high];"""
    )
    assert (last - first) / (high - low) > 0.9


def test_a_run_of_a_clock_that_was_ahead_is_not_of_the_last_days(page: Page) -> None:
    now = datetime.now(UTC)
    starts = [now - timedelta(days=3), now - timedelta(days=40), now + timedelta(days=700)]
    page.build([done(n, 0.4, started=start) for n, start in enumerate(starts, start=1)]).open()
    assert "1 in the last 30 days" in page.text(".tiles")
    assert "by a clock that was ahead" in page.text("#freshness")


# -- texts


@pytest.mark.parametrize("name", ["a\ud800", "\udc00b", "x\ud83dy"])
def test_a_name_with_a_lone_surrogate_is_like_any_other(page: Page, name: str) -> None:
    page.build([done(1, 0.5, **{name: 1}), done(2, 0.4, **{name: 2})]).open("#/parameters")
    page.click(".small-multiple a")
    page.until("return document.querySelectorAll('tbody tr').length === 2")
    page.click("#nav a[href='#/runs']")
    page.until("return document.querySelector('h1').innerText === 'Runs'")


@pytest.mark.parametrize("view", ["overview", "runs", "parameters", "run", "regressions", "gpu"])
def test_the_fault_of_one_view_stays_in_it(page: Page, view: str) -> None:
    runs = history()
    page.build(runs, judged=verdicts(runs)).open("#/nothing")
    page.js("wer.views.find(arguments[0]).draw = () => { throw new TypeError('broken'); };", view)
    page.js("location.hash = arguments[0]", f"#/{view}/{runs[0].id}" if view == "run" else f"#/{view}")
    page.until("return document.querySelector('main').innerText.includes('This view cannot be drawn')")
    page.click("#nav a[href='#/parameters']" if view == "runs" else "#nav a[href='#/runs']")
    page.until("return !document.querySelector('main').innerText.includes('cannot be drawn')")


def test_a_fault_after_loading_stays_in_its_view(page: Page) -> None:
    run = done(1, 0.5)
    page.build([run]).open("#/runs")
    page.js("wer.curves = () => { throw new TypeError('broken'); };")
    page.js("location.hash = arguments[0]", f"#/run/{run.id}")
    page.until("return document.querySelector('main').innerText.includes('This view cannot be drawn')")


def test_a_direction_mark_in_a_name_turns_nothing_around(page: Page) -> None:
    runs = [
        done(1, 0.5),
        done(2, 0.4)._replace(merge=done(2, 0.4).merge._replace(author="a\u202etxet"), machine="b\u202e"),
    ]
    page.build(runs).open(f"#/run/{runs[1].id}")
    page.until("return document.querySelector('main').innerText.includes('Learning curves')")
    left = page.js(
        """const texts = [...document.querySelector(".facts").childNodes];
        const text = texts.find((one) => one.textContent.includes("started"));
        const at = (word) => {
            const range = document.createRange();
            const start = text.textContent.indexOf(word);
            range.setStart(text, start);
            range.setEnd(text, start + 1);
            return range.getBoundingClientRect();
        };
        const [first, last] = [at("started"), at("UTC")];
        return first.left < last.left || first.top < last.top;"""
    )
    assert left


@pytest.mark.parametrize("view", ["#/", "#/runs", "#/regressions", "run", "#/parameters"])
def test_long_words_do_not_widen_a_phone(page: Page, view: str) -> None:
    runs = history(subject=SHA256 * 3, author=SHA256)
    lost = failed(31, "exit 1", f"checksum of {SHA256}")._replace(machine=SHA256)
    odd = done(32, 0.4, **{SHA256: SHA256})
    page.show(width=390, height=844).build([*runs, lost, odd], judged=verdicts(runs), branch=SHA256)
    for address in [f"#/run/{lost.id}", f"#/run/{runs[CULPRIT].id}", f"#/run/{odd.id}"] if view == "run" else [view]:
        page.open(address)
        time.sleep(0.2)
        page.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.js("return document.documentElement.scrollWidth") <= 390, address


def test_a_phone_shows_what_tells_merges_apart(page: Page) -> None:
    page.show(width=390, height=844).build([done(1, 0.5), done(2, 0.4)]).open("#/runs")
    page.until("return document.querySelector('tbody').innerText.includes('#1002')")
    row = rows(page)[0]
    assert "#1002 importer-ted, by tilmankamp" in row
    assert "2023-03-02 03:30" in row
    assert "−10.00 pp" in row
    assert page.js(
        """return [...document.querySelectorAll("tbody tr:first-child *")]
            .every((one) => one.getBoundingClientRect().right <= 390)"""
    )


def test_a_subject_that_names_no_pull_request_has_its_author(page: Page) -> None:
    page.build([done(1, 0.5, subject="Use the new alphabet")]).open("#/runs")
    page.until("return document.querySelector('tbody').innerText.includes('Use the new alphabet, by Reuben Morais')")


# -- for everybody


@pytest.mark.parametrize("dark", [False, True])
def test_forced_colours_hide_nothing(page: Page, dark: bool) -> None:
    page.build([done(1, 0.5), done(2, 0.4), failed(3), done(4, 0.3)]).open()
    features = [
        {"name": "forced-colors", "value": "active"},
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
    ]
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.open()
    assert page.drawn("bad") > 10
    palette = page.js("return [wer.palette.bad, wer.palette.card, wer.palette.test]")
    assert len({palette[0], palette[1]}) == 2
    assert page.drawn("test") > 50
    assert palette[2] != palette[1]


SMALL = """return [...document.querySelectorAll("main a, main button, nav a, input, summary, footer a, [role=slider]")]
    .filter((target) => target.getClientRects().length && !target.closest(".u-over, .small-multiple"))
    .map((target) => [target.outerHTML.slice(0, 120), target.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < 24 || height < arguments[0])
    .map(([html, { width, height }]) => `${html} ${width} x ${height}`)"""


@pytest.mark.parametrize(("width", "least"), [(1280, 24), (390, 40)])
@pytest.mark.parametrize("view", ["#/", "#/runs", "#/regressions", "#/parameters", "run"])
def test_targets_are_large_enough(page: Page, width: int, least: int, view: str) -> None:
    runs = history()
    lost = failed(31)
    page.show(width=width, height=844).build([*runs, lost], judged=verdicts(runs))
    for address in [f"#/run/{lost.id}", f"#/run/{runs[CULPRIT].id}"] if view == "run" else [view]:
        page.open(address)
        page.until("return !document.querySelector('main').innerText.includes('Reading ')")
        time.sleep(0.2)
        assert page.js(SMALL, least) == []


def test_print_has_no_buttons_and_everything_else(page: Page) -> None:
    page.show(dark=True).build(years(30)).open()
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = page.js(
        """return ["#nav", "#theme", ".chart-controls", ".range"]
            .map((one) => document.querySelector(one).offsetParent === null)"""
    )
    assert hidden == [True] * 4
    assert page.js("return document.querySelector('.tiles').offsetHeight") > 50
    assert page.js("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_an_axis_has_one_row_of_labels(page: Page) -> None:
    page.build(years(300)).open("#/?axis=date")
    heights = page.js("return [...document.querySelectorAll('.u-axis')].map((one) => one.offsetHeight)")
    assert min(heights) <= 30


# -- words


def test_the_head_says_how_old_the_last_result_is(page: Page) -> None:

    end = datetime.now(UTC) - timedelta(hours=3)
    run = done(1, 0.5, started=end - timedelta(hours=2))._replace(finished_at=iso(end))
    page.build([run], looked_at=iso(datetime.now(UTC))).open()
    assert page.text("#freshness").strip() == "last result 3 h ago"


@pytest.mark.parametrize(
    ("attempt", "text"),
    [(1, "at the first attempt"), (2, "2nd attempt"), (3, "3rd attempt"), (11, "11th attempt"), (22, "22nd attempt")],
)
def test_attempts_are_counted_as_people_do(page: Page, attempt: int, text: str) -> None:
    run = done(1, 0.5)._replace(attempt=attempt)
    page.build([run]).open(f"#/run/{run.id}")
    assert text in page.text(".tiles")


def test_underfitting_is_not_called_an_overfit_gap(page: Page) -> None:
    run: Any = done(1, 0.3)
    run.hyper["results"]["last_train_wer"] = 0.5066
    page.build([run]).open()
    assert "overfit gap" not in page.text(".tiles").lower()
    assert "−20.66" in page.text(".tiles")
    assert "no sign of overfitting" in page.text(".tiles")


def test_what_nobody_judged_is_not_judged_by_the_page(page: Page) -> None:
    page.build([done(1, 0.2), done(2, 0.9)], judged=Judged()).open("#/runs")
    assert page.js("return document.querySelectorAll('.chip-failed, .chip-good').length") == 0
