"""The page in Debian's Chromium, from file:// and over HTTP: what visitors see, also with hostile input."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By

from deepspeech_wer.dashboard import Judged, build
from deepspeech_wer.records import Run
from tests.invented_runs import PROJECT, archive, done, failed, iso, years

SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WATCH = """
window.seen = [];
addEventListener("error", (event) => event.message && window.seen.push(event.message));
addEventListener("unhandledrejection", (event) => window.seen.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) => window.seen.push("CSP: " + event.violatedDirective));
window.alert = () => window.seen.push("alert");
"""
VIEWS = ("#/", "#/?axis=date", "#/runs", "#/parameters", "#/parameters/epochs", "#/regressions", "#/gpu")
HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(1)</script>"


class Page:
    """The site in a browser. `open` waits until the page is drawn."""

    def __init__(self, driver: webdriver.Chrome, site: Path) -> None:
        self.driver = driver
        self.site = site
        self.address = f"file://{site}/index.htm"

    def build(self, runs: list[Run], judged: Judged | None = None, **changes: Any) -> Page:
        archived = archive(runs, self.site.parent / "archive")
        build(archived, self.site, project=PROJECT._replace(**changes), judged=judged)
        return self

    def index_js(self) -> Path:
        """The file that the page opens from."""
        [path] = (self.site / "js").glob("index.*.js")
        return path

    def only_hyper_js(self, text: str) -> Page:
        """Make a page whose only data is js/hyper.js."""
        build([], self.site, project=PROJECT)
        self.index_js().unlink()
        (self.site / "js/merges.js").unlink()
        (self.site / "js/hyper.js").write_text(text, "utf-8")
        return self

    def open(self, view: str = "#/") -> Page:
        self.driver.get("about:blank")
        self.driver.get(self.address + view)
        self.until("return !document.body.innerText.includes('Reading the runs')")
        self.until("return !window.WER_INDEX || WER_INDEX.version > 1 || Boolean(window.WER_MERGES)")
        return self

    def until(self, condition: str, timeout_s: float = 10) -> Any:
        end = time.monotonic() + timeout_s
        while not (value := self.js(condition)):
            assert time.monotonic() < end, (
                f"{condition}: not true within {timeout_s} s; the page shows: {self.text()[:300]}"
            )
            time.sleep(0.02)
        return value

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str = "main") -> str:
        return str(self.js("return document.querySelector(arguments[0]).innerText", selector))

    def faults(self) -> list[str]:
        return list(self.js("return window.seen"))

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def press(self, label: str) -> None:
        self.driver.find_element(By.XPATH, f"//button[normalize-space()='{label}']").click()

    def hover(self, run: int, of: int) -> str:
        """Move the pointer to a run by its position on the merge axis. Returns the text of the tooltip."""
        over = self.driver.find_element(By.CSS_SELECTOR, ".u-over")
        width = over.rect["width"]
        at = (run + 0.5) / of * width - width / 2
        ActionChains(self.driver, duration=0).move_to_element_with_offset(over, int(at), 60).perform()
        self.until("return !document.querySelector('.tooltip').hidden")
        return self.text(".tooltip")

    def drawn(self, colour: str) -> int:
        """Count the chart's pixels whose colour is close to one of the palette."""
        return int(
            self.js(
                """const canvas = document.querySelector(".chart canvas"), probe = document.createElement("canvas");
                const pen = probe.getContext("2d");
                pen.fillStyle = wer.palette[arguments[0]];
                pen.fillRect(0, 0, 1, 1);
                const wanted = pen.getImageData(0, 0, 1, 1).data;
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                let count = 0;
                for (let i = 0; i < data.length; i += 4) {
                    if (data[i + 3] > 200 && [0, 1, 2].every((k) => Math.abs(data[i + k] - wanted[k]) < 12)) count++;
                }
                return count;""",
                colour,
            )
        )

    def show(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        return self


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: expected Debian's packages chromium and chromium-driver")
        pytest.skip("no Chromium: install Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    # The offset of this time zone has 45 minutes: local time mistaken for UTC is always noticed.
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path_factory.mktemp("home")), "TZ": "Pacific/Chatham"}
    browser = webdriver.Chrome(options=options, service=Service(chromedriver, env=surroundings))
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    yield browser
    browser.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, tmp_path: Path) -> Iterator[Page]:
    made = Page(driver, tmp_path / "site").show()
    yield made
    assert made.faults() == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(page: Page) -> Iterator[Page]:
    """The same page over HTTP."""
    page.site.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(page.site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    page.address = f"http://127.0.0.1:{server.server_port}/index.htm"
    yield page
    page.driver.get("about:blank")
    page.js("window.seen = []")
    server.shutdown()
    server.server_close()
    thread.join()


def record(start: str, test: Any, **parameters: Any) -> dict[str, Any]:
    results = {"test_wer": test, "last_validation_wer": test, "last_train_wer": test}
    return {"context": {"time_started": start}, "parameters": parameters, "results": results}


def hyper_js(records: list[Any]) -> str:
    return f"window.ALL_THE_DATA = {json.dumps(records)};"


def rows(page: Page) -> list[str]:
    return list(page.js("return [...document.querySelectorAll('tbody tr')].map((row) => row.innerText)"))


# -- the views


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn_from_a_file(page: Page, view: str) -> None:
    page.build(years(60)).open(view)
    assert page.js("return document.querySelector('main').children.length") > 1
    assert page.text("#project") == "DeepSpeech"


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn_over_http(served: Page, view: str) -> None:
    served.build(years(60)).open(view)
    assert served.js("return document.querySelector('main').children.length") > 1
    assert served.faults() == []


def test_the_overview_shows_the_current_state(page: Page) -> None:
    page.build([done(1, 0.5), done(2, 0.4), failed(3), done(4, 0.45)]).open()
    tiles = page.text(".tiles")
    assert "45.00 %" in tiles
    assert "+5.00 pp" in tiles
    assert "40.00 %" in tiles
    assert "1 failed" in tiles
    assert "23,659 errors in 52,576 words" in tiles
    assert page.drawn("test") > 100
    assert page.drawn("bad") > 10


def test_hovering_shows_the_exact_time_and_percentage(page: Page) -> None:
    page.build([done(1, 0.5), done(2, 0.4), failed(3, "exit 1", "ended with exit code 1")]).open()
    page.until("return document.querySelector('tbody').innerText.includes('lissyx')")  # the subjects are loaded later
    tooltip = page.hover(1, 3)
    assert "2023-03-02 03:30:00 UTC" in tooltip
    assert "40.00 %" in tooltip
    assert "−10.00 pp" in tooltip
    assert "5:15:00 PM" in tooltip or "17:15:00" in tooltip  # Chatham
    assert "Merge pull request #1002" in tooltip
    assert "exit 1" in (tooltip := page.hover(2, 3))
    assert "ended with exit code 1" in tooltip


def test_the_last_failing_runs_are_shown_at_the_top(page: Page) -> None:
    page.build([done(1, 0.5), failed(2), failed(3)]).open()
    assert "The latest 2 runs failed: timeout" in page.text(".banner")


def test_a_click_on_a_point_opens_the_run(page: Page) -> None:
    runs = [done(1, 0.5), done(2, 0.4), done(3, 0.3)]
    page.build(runs).open().hover(1, 3)
    page.click(".u-over")
    page.until("return location.hash.startsWith('#/run/')")
    page.until("return document.querySelector('main').innerText.includes('Learning curves')")
    assert runs[1].id in page.js("return location.hash")
    assert page.js("return [...document.links].map((a) => a.href)").count(
        f"https://github.com/mozilla/DeepSpeech/commit/{runs[1].merge.sha}"
    )


def test_a_tap_shows_the_tooltip_with_a_link(page: Page) -> None:
    runs = [done(1, 0.5), done(2, 0.4), done(3, 0.3)]
    page.build(runs).open()
    touch = ActionBuilder(page.driver, mouse=PointerInput("touch", "finger"))
    touch.pointer_action.move_to(page.driver.find_element(By.CSS_SELECTOR, ".u-over")).pointer_down().pointer_up()
    touch.perform()
    page.until("return document.querySelector('.tooltip a') !== null")
    assert page.js("return location.hash") == "#/"
    page.click(".tooltip a")
    page.until("return location.hash.startsWith('#/run/')")
    assert runs[1].id in page.js("return location.hash")


def test_the_run_view_shows_the_files_of_the_run(page: Page) -> None:
    run = done(2, 0.4, epochs=75)
    page.build([done(1, 0.5), run]).open(f"#/run/{run.id}")
    page.until("return document.querySelector('main').innerText.includes('End of out.log')")
    text = page.text()
    assert "epochs 30 → 75" in text
    assert "substitutions" in text
    assert "12:00:09 epoch 2" in text
    assert page.js("return [...document.querySelectorAll('.files a')].map((a) => a.textContent)") == [
        "hyper.json",
        "out.log",
        "err.log",
        "history.json",
    ]


def test_the_run_view_shows_why_a_run_failed(page: Page) -> None:
    run = failed(2, "no-hyper", "wrote no hyper.json")
    page.build([done(1, 0.5), run]).open(f"#/run/{run.id}")
    page.until("return document.querySelector('main').innerText.includes('Killed')")
    assert "no-hyper wrote no hyper.json" in page.text(".failure").replace("\n", " ")


def test_the_legend_hides_and_shows_lines(page: Page) -> None:
    page.build(years(30)).open()
    before = page.drawn("validation")
    page.press("Validation")
    page.until("return document.querySelectorAll('.legend [aria-pressed=false]').length === 1")
    time.sleep(0.1)
    assert page.drawn("validation") < before / 10
    page.press("Validation")
    time.sleep(0.1)
    assert page.drawn("validation") == before


def test_dragging_zooms_double_click_resets_and_the_address_follows(page: Page) -> None:
    page.build(years(300)).open()
    over = page.driver.find_element(By.CSS_SELECTOR, ".u-over")
    actions = ActionChains(page.driver, duration=0)
    actions.move_to_element_with_offset(over, -100, 0).click_and_hold().move_by_offset(200, 0).release().perform()
    page.until("return location.hash.includes('from=')")
    zoomed = page.js("return location.hash")
    page.open(zoomed)
    assert page.js("return parseFloat(document.querySelector('.range-window').style.width)") == pytest.approx(18, abs=3)
    ActionChains(page.driver).double_click(page.driver.find_element(By.CSS_SELECTOR, ".u-over")).perform()
    page.until("return location.hash === '#/'")


def test_the_range_strip_moves_by_keyboard(page: Page) -> None:
    page.build(years(300)).open()
    handle = page.driver.find_element(By.CSS_SELECTOR, "[role=slider]")
    handle.send_keys(Keys.PAGE_UP, Keys.PAGE_UP)
    page.until("return location.hash.includes('from=')")
    assert int(handle.get_attribute("aria-valuenow") or 0) == pytest.approx(60, abs=2)
    assert (handle.get_attribute("aria-valuetext") or "").startswith("№ 6")


def test_the_range_strip_moves_by_pointer(page: Page) -> None:
    page.build(years(300)).open()
    handle = page.driver.find_element(By.CSS_SELECTOR, ".range-handle")
    ActionChains(page.driver, duration=0).click_and_hold(handle).move_by_offset(500, 0).release().perform()
    page.until("return location.hash.includes('from=')")
    assert int(handle.get_attribute("aria-valuenow") or 0) > 100


def test_the_chart_is_navigated_by_keyboard(page: Page) -> None:
    runs = [done(n, 0.5 - n / 100) for n in range(1, 6)]
    page.build(runs).open()
    chart = page.driver.find_element(By.CSS_SELECTOR, ".chart")
    chart.send_keys(Keys.END, Keys.ARROW_LEFT)
    assert "№ 4" in page.text(".tooltip")
    assert "46.00 %" in page.text("[aria-live]")
    chart.send_keys(Keys.ENTER)
    page.until("return location.hash.startsWith('#/run/')")
    assert runs[3].id in page.js("return location.hash")


def test_runs_are_searched_sorted_and_filtered_with_a_permalink(page: Page) -> None:
    page.build([done(1, 0.5), done(2, 0.3, epochs=75), failed(3), done(4, None), done(5, 0.4)]).open("#/runs")
    assert len(rows(page)) == 5
    page.click("[data-key=test]")
    assert [row.split()[0] for row in rows(page)][:3] == [done(n, 0).merge.sha[:8] for n in (2, 5, 1)]
    page.driver.find_element(By.ID, "search").send_keys("epochs=75")
    page.until("return document.querySelectorAll('tbody tr').length === 1")
    page.until("return location.hash === '#/runs?q=epochs%3D75&sort=test'")
    page.open("#/runs?status=failed")
    assert len(rows(page)) == 1
    assert "timeout" in rows(page)[0]
    page.open("#/runs?q=nothing-like-it")
    assert "No run matches." in page.text()


def test_subjects_are_searched_once_loaded(page: Page) -> None:
    page.build([done(n, 0.5) for n in range(1, 9)]).open("#/runs?q=lissyx")
    page.until("return document.querySelectorAll('tbody tr').length === 2")


def test_many_runs_are_shown_in_pages(page: Page) -> None:
    page.build(years(230)).open("#/runs")
    assert len(rows(page)) == 100
    page.press("Next ›")
    page.press("Next ›")
    assert len(rows(page)) == 30


def test_ids_are_made_of_the_runs_that_are_looked_at(page: Page) -> None:
    runs = years(230)
    page.build(runs).open()
    before, after, ids, found = page.js(
        """const real = Date.prototype.toISOString;
        let count = 0;
        Date.prototype.toISOString = function () { count++; return real.call(this); };
        try {
            const data = wer.decode.fromIndex(window.WER_INDEX);
            const before = count;
            const looked = [data.ids[3], data.ids[3], data.ids[229]];
            return [before, count, [...looked, ...data.ids], data.ids.indexOf(data.ids[7])];
        } finally {
            Date.prototype.toISOString = real;
        }"""
    )
    assert (before, after, found) == (0, 2, 7)
    assert ids == [runs[3].id, runs[3].id, runs[229].id, *(run.id for run in runs)]


def test_the_csv_holds_every_parameter_and_no_formula(page: Page) -> None:
    page.build([done(1, 0.5, subject='=HYPERLINK("x")'), failed(2)]).open("#/runs")
    page.until("return wer.csv && document.querySelector('tbody').innerText.includes('HYPERLINK')")
    page.js("window.saved = []; wer.download = (name, text) => window.saved.push(name, text)")
    page.press("Save as CSV")
    name, text = page.js("return window.saved")
    lines = text.split("\r\n")
    assert name == "runs.csv"
    assert "data_set.name" in lines[0]
    assert "'=HYPERLINK" in lines[2]
    assert ",timeout,,,," in lines[1]


def test_the_page_answers_first_and_shows_each_verdict(page: Page) -> None:
    runs = [done(1, 0.16), done(2, 0.19), done(3, 0.18)._replace(rerun_of=done(2, 0.19).id, seed=7)]
    verdicts = Judged(
        {runs[0].id: "too few runs", runs[1].id: "worse"},
        {runs[1].id: "+3.00 pp <b>"},
        ("worse", "Worse: <b>19 %.", runs[1].id),
        noise="Noise of one training: sd 0.31 pp <b>.",
    )
    page.build(runs, judged=verdicts).open()
    assert page.text(".headline-worse").startswith("Worse: <b>19 %. ")
    assert "days ago. The run The evidence" in page.text(".headline-worse")
    assert page.text(".noise") == "Noise of one training: sd 0.31 pp <b>."
    page.open("#/runs")
    shown = rows(page)
    assert len(shown) == 2  # a re-training belongs to its run
    assert "▲ worse" in shown[0]
    assert "too few runs" in shown[1]
    page.open(f"#/run/{runs[1].id}")
    page.until("return document.querySelector('main').innerText.includes('+3.00 pp <b>')")
    text = (page.site / "js/hyper.js").read_text("utf-8")
    page.only_hyper_js(text).open("#/runs")
    assert len(rows(page)) == 2
    assert "left out" not in page.text()


# -- the sixteen faults of the page of 2016


def test_fault_1_and_2_runs_in_any_order_are_drawn_in_order(page: Page) -> None:
    starts = ["2023-03-03T00:00:00", "2023-03-01T00:00:00", "2023-03-02T00:00:00"]
    records = [record(start, 0.3 + k / 10, epochs=k) for k, start in enumerate(starts)]
    page.only_hyper_js(hyper_js(records)).open()
    assert "2023-03-01 00:00:00 UTC" in page.hover(0, 3)
    assert "2023-03-03 00:00:00 UTC" in page.hover(2, 3)
    page.open("#/parameters")
    assert page.js("return document.querySelectorAll('.small-multiple').length") == 1


@pytest.mark.parametrize("view", [*VIEWS[:4], f"#/parameters/{HOSTILE}", f"#/run/{HOSTILE}", f"#/{HOSTILE}", "#/%"])
def test_fault_3_no_text_becomes_markup(page: Page, view: str) -> None:
    names = {HOSTILE: 1, "__proto__": 1, "constructor": 1, "toString": "x"}
    other = {HOSTILE: HOSTILE, "__proto__": 2, "constructor": 2, "toString": "y" * 10_000}
    runs = [
        done(1, 0.5, subject=HOSTILE, **names),
        done(2, 0.4, subject="x" * 9000, **other),
        failed(3, HOSTILE, HOSTILE),
    ]
    page.build(runs, name=HOSTILE, branch=HOSTILE, url="javascript:alert(1)").open(view)
    page.until("return document.readyState === 'complete'")
    assert page.js("return document.querySelectorAll('main img, main script, #project img, footer img').length") == 0
    assert page.js("return [...document.links].filter((a) => !/^(https?|file):/.test(a.href)).length") == 0
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")


def test_fault_3_a_hostile_run_is_shown_as_text(page: Page) -> None:
    run = failed(1, "exit 1", HOSTILE)._replace(machine=HOSTILE)
    page.build([run]).open(f"#/run/{run.id}")
    page.until("return document.querySelector('main').innerText.includes('Killed')")
    assert HOSTILE in page.text()


@pytest.mark.parametrize("text", ["window.ALL_THE_DATA = [{", "", "window.ALL_THE_DATA = 7;", "<html>404</html>"])
def test_fault_4_and_5_damaged_data_is_reported(page: Page, text: str) -> None:
    page.only_hyper_js(text).open()
    assert "The data is damaged" in page.text()
    page.js("window.seen = []")  # the damaged script's own syntax error


def test_fault_5_missing_data_is_reported(page: Page) -> None:
    page.only_hyper_js("")
    (page.site / "js/hyper.js").unlink()
    page.open()
    assert "No data" in page.text()


def test_fault_5_data_of_a_newer_version_is_reported(page: Page) -> None:
    page.build([done(1, 0.5)])
    index = page.index_js()
    index.write_text(index.read_text().replace('"version":1', '"version":2'))
    page.open()
    assert "The data is newer than this page" in page.text()


def test_fault_5_a_truncated_index_falls_back_to_hyper_js(page: Page) -> None:
    page.build([done(1, 0.5), done(2, 0.4)])
    index = page.index_js()
    index.write_bytes(index.read_bytes()[:-40])
    page.open()
    assert "40.00 %" in page.text(".tiles")
    page.js("window.seen = []")  # the damaged script's own syntax error


@pytest.mark.parametrize("view", VIEWS[:4])
def test_fault_5_an_empty_archive_is_reported(page: Page, view: str) -> None:
    page.build([]).open(view)
    assert "No runs yet" in page.text()


def test_fault_5_invalid_records_are_left_out(page: Page) -> None:
    good = record("2023-03-01T00:00:00", 0.4)
    page.only_hyper_js(hyper_js([good, {}, None, 7, {"context": {"time_started": "soon"}, "results": {}}, []])).open()
    assert "40.00 %" in page.text(".tiles")
    assert "5 damaged records left out" in page.text("footer")


def test_fault_6_what_was_not_measured_is_not_0(page: Page) -> None:
    page.build([done(1, 0.5), done(2, None), done(3, 0.49)]).open()
    assert "–" in page.hover(1, 3)
    assert " 0.00 %" not in page.text().replace("\t", " ")
    # otherwise the y axis would start at 0
    assert not page.js("return wer.stats.robustRange([[50, null, 49]], 0, 2)[0] < 40")


def test_fault_7_a_lone_run_between_missing_ones_is_drawn(page: Page) -> None:
    page.build([done(1, None), done(2, 0.5), done(3, None)]).open()
    assert page.drawn("test") > 10
    runs = [done(n, 0.5 if n == 200 else None) for n in range(1, 400)]
    page.build(runs).open()
    assert page.drawn("test") > 5


def test_fault_8_times_without_a_zone_are_utc(page: Page) -> None:
    page.only_hyper_js(hyper_js([record("2023-03-01T09:30:00.5", 0.5), record("2023-03-02T09:30:00", 0.4)])).open()
    assert "2023-03-01 09:30:00 UTC" in page.hover(0, 2)


def test_fault_9_a_parameter_added_later_is_charted(page: Page) -> None:
    page.build([done(1, 0.5), done(2, 0.4, beam=100), done(3, 0.3, beam=500)]).open("#/parameters/beam")
    assert [row.split()[0] for row in rows(page)] == ["100", "500", "not"]


def test_a_path_that_differs_in_every_run_is_not_a_hyperparameter(page: Page) -> None:
    runs = [done(n, 0.5 - n / 10, lr=n, checkpoint_dir=f"/data/{n}", data="/data/ted") for n in (1, 2, 3)]
    text = page.build(runs).open("#/parameters").text()
    assert "checkpoint_dir" not in text
    assert "lr" in text


def test_fault_10_parameters_that_change_together_share_a_chart(page: Page) -> None:
    runs = [
        done(1, 0.5),
        done(2, 0.4, train_batch_size=32, total_batches_train=128),
        done(3, 0.4, data_set={"name": "an4"}),
    ]
    page.build(runs).open("#/parameters")
    titles = page.js("return [...document.querySelectorAll('.small-multiple h2')].map((title) => title.textContent)")
    assert titles == ["data_set.name", "total_batches_train & train_batch_size"]
    assert page.js("return document.querySelectorAll('.small-multiple svg').length") == 2


def test_fault_11_progress_of_the_code_is_not_an_effect_of_a_parameter(page: Page) -> None:
    """The code got 20 points worse half-way. Only the parameter that does harm may show an effect."""
    runs = [
        done(n, (0.3 if n < 150 else 0.5) + (0.05 if n % 10 == 3 else 0), beam=int(n % 10 < (2 if n < 150 else 8)),
             dropout_rate=0.5 if n % 10 == 3 else 0.05)
        for n in range(1, 301)
    ]  # fmt: skip
    page.build(runs).open("#/parameters")
    means = page.js(
        """const { effects } = wer.effects(wer.decode.fromIndex(WER_INDEX));
        return Object.fromEntries(effects.map(({ names, groups }) => [names[0], groups.map(({ mean }) => mean)]))"""
    )
    assert abs(means["beam"][0] - means["beam"][1]) < 1
    assert means["dropout_rate"][1] - means["dropout_rate"][0] == pytest.approx(5, abs=0.5)


def test_fault_12_series_are_named_after_what_defines_them(page: Page) -> None:
    page.build([done(1, 0.5, optimizer="adam"), done(2, 0.4, optimizer="sgd")]).open("#/parameters/optimizer")
    assert "2023" not in page.text("svg")
    assert [row.split()[0] for row in rows(page)] == ["adam", "sgd"]


@pytest.mark.parametrize("name", ["__x", "__proto__", "constructor", "a/b?c#d e%", "ключ"])
def test_fault_13_any_name_is_accepted(page: Page, name: str) -> None:
    page.build([done(1, 0.5, **{name: 1}), done(2, 0.4, **{name: 2})]).open("#/parameters")
    page.click(".small-multiple a")
    page.until("return document.querySelectorAll('tbody tr').length === 2")
    assert page.text("h1") == name


def test_fault_14_one_diverged_run_flattens_nothing_and_is_marked(page: Page) -> None:
    low, high = (
        page.build([done(n, 3.0 if n == 9 else 0.4 + n / 1000) for n in range(1, 20)])
        .open()
        .js("return wer.stats.robustRange([wer.decode.fromIndex(WER_INDEX).test], 0, 18)")
    )
    assert 30 < low < 41
    assert 41 < high < 50
    assert "300.00 %" in page.hover(8, 19)


def test_fault_15_every_run_links_to_its_commit(page: Page) -> None:
    run = done(1, 0.5)
    page.build([run]).open(f"#/run/{run.id}")
    page.until("return document.querySelector('main').innerText.includes('Learning curves')")
    assert page.js("return document.querySelector('.facts a').href").endswith(run.merge.sha)
    page.build([run], url=None).open(f"#/run/{run.id}")
    assert page.js("return document.querySelector('.facts a')") is None


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_fault_16_a_phone_needs_no_sideways_scrolling(page: Page, view: str, dark: bool) -> None:
    page.show(width=390, height=844, dark=dark).build([*years(40), failed(41)]).open(view)
    assert page.js("return document.documentElement.scrollWidth") <= 390
    assert page.js("return document.documentElement.dataset.theme") == ("dark" if dark else "light")
    small = page.js(
        """return [...document.querySelectorAll("button, nav a, input")].filter((target) => {
            const { width, height } = target.getBoundingClientRect();
            return width && (width < 24 || height < (target.closest("table") ? 24 : 40));
        }).map((target) => target.outerHTML)"""
    )
    assert small == []


# -- states


def test_a_record_dropped_by_hand_has_a_run_view(page: Page) -> None:
    page.only_hyper_js(hyper_js([record("2016-11-16T10:00:00.123456", 0.36, epochs=50)])).open("#/runs")
    page.click("tbody a")
    page.until("return document.querySelector('main').innerText.includes('All 1 parameter')")
    page.click("summary")
    assert "epochs" in page.text()
    assert "36.00 %" in page.text()


@pytest.mark.parametrize("axis", ["#/", "#/?axis=date"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: [done(1, 0.5)],
        lambda: [failed(1)],
        lambda: [failed(1), failed(2)],
        lambda: [done(1, None)],
        lambda: [done(1, 0.5), done(2, 0.4)._replace(started_at=done(1, 0.5).started_at, merge=twin())],
    ],
    ids=["one run", "one failed", "only failed", "nothing measured", "two in a second"],
)
def test_few_runs_are_drawn(page: Page, axis: str, make: Callable[[], list[Run]]) -> None:
    runs = make()
    page.build(runs).open(axis)
    assert page.js("return document.querySelector('.chart canvas').width") > 100
    assert len(rows(page)) == len(runs)
    page.driver.find_element(By.CSS_SELECTOR, ".chart").send_keys(Keys.HOME)
    assert "№ 1" in page.text(".tooltip")


def twin() -> Any:
    return done(2, 0.4).merge._replace(committed_at=done(1, 0.5).merge.committed_at)


def test_unknown_runs_views_and_ranges_are_reported(page: Page) -> None:
    page.build([done(1, 0.5)])
    assert "No such run" in page.open("#/run/20230101-000000-aaaaaaaaaaaa").text()
    assert "No such view" in page.open("#/gpus").text()
    assert "No such view" in page.open("#/__proto__").text()
    assert "No chart of this parameter" in page.open("#/parameters/nothing").text()
    assert "50.00 %" in page.open("#/?from=zero&to=NaN").text()
    assert "50.00 %" in page.open("#/?from=-1e9&to=1e9").text()
    assert "50.00 %" in page.open("#/runs?sort=__proto__&page=-3&status=x").text()


def test_a_run_without_its_file_is_still_shown(page: Page) -> None:
    run = done(1, 0.5)
    page.build([run])
    (page.site / "runs" / f"{run.id}.js").unlink()
    page.open(f"#/run/{run.id}")
    page.until("return document.querySelector('main').innerText.includes('No details')")
    assert "50.00 %" in page.text()


@pytest.mark.parametrize(("hours", "state"), [(1, "fresh"), (24 * 3, "stale"), (24 * 8, "very-stale")])
def test_a_silent_tracker_is_noticed(page: Page, hours: int, state: str) -> None:
    page.build([done(1, 0.5)], looked_at=iso(datetime.now(UTC) - timedelta(hours=hours))).open()
    assert page.js("return document.getElementById('freshness').className") == f"freshness {state}"
    assert ("no news" in page.text("#freshness")) == (state != "fresh")


def test_the_colours_are_chosen_by_button(page: Page) -> None:
    page.build(years(30)).open()
    assert page.drawn("test") > 0
    page.click("#theme")
    assert page.js("return document.documentElement.dataset.theme") == "dark"
    time.sleep(0.1)
    assert page.drawn("test") > 0
    page.open("#/runs")
    assert page.js("return document.documentElement.dataset.theme") == "dark"
    page.click("#theme")
    assert page.js("return document.documentElement.dataset.theme") == "light"


def test_moving_between_views_leaves_nothing_behind(page: Page) -> None:
    page.build(years(300)).open()
    for _ in range(3):
        for view in ("#/runs", "#/parameters", "#/?axis=date", "#/"):
            page.js("location.hash = arguments[0]", view)
            page.until("return document.title.length > 0")
    assert page.js("return document.querySelectorAll('.uplot').length") == 1


def test_a_thousand_runs_are_drawn_within_a_second(page: Page) -> None:
    page.build(years(1000)).open()  # benchmarks/page.py draws ten thousand, which take long to build
    assert page.js("return performance.getEntriesByName('wer:drawn')[0].startTime") < 1000
