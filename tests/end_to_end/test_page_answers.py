"""What the page answers at a glance: worse or better, since when, by whom, how sure, and what the GPUs did."""

from __future__ import annotations

import pytest
from selenium.webdriver import Keys

from deepspeech_wer.dashboard import Judged, build
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.records import Run
from tests.end_to_end import axe
from tests.end_to_end.test_page import HOSTILE, Page, rows
from tests.end_to_end.test_page import driver as driver  # the fixtures
from tests.end_to_end.test_page import page as page
from tests.invented_runs import PROJECT, archive, done, failed, years
from tests.invented_verdicts import CULPRIT, history, verdicts

GPU = """timestamp,index,gpu_percent,memory_controller_percent,memory_used_mib,memory_total_mib,temperature_celsius,power_watts
2023/11/10 13:05:01.123, 0, 97, 41, 10240, 24576, 71, 251.33
2023/11/10 13:05:01.125, 1, 0, 0, 3, 24576, [N/A], [Not Supported]
2023/11/10 13:05:06.130, 0, 99, 43, 10240, 24576, 72, 249.00
2023/11/10 13:05:06.131, 1, 0, 0, 3, 24576, [N/A], [Not Supported]
"""  # noqa: E501


def judged_page(page: Page, runs: list[Run], shown: Judged | None = None) -> Page:
    return page.build(runs, judged=shown or verdicts(runs))


def evidence(page: Page) -> Page:
    page.until("return !document.querySelector('main').innerText.includes('Reading the evidence')")
    return page


# -- the first screen


def test_the_first_sentence_says_what_happened_and_links_the_evidence(page: Page) -> None:
    runs = history()
    judged_page(page, runs).open()
    sentence = page.text("h1")
    assert sentence.startswith("Worse: 4")
    assert f"pp since {runs[CULPRIT].merge.sha[:8]}. Reuben Morais, dropout_rate 0.05 → 0.3." in sentence
    assert "re-trainings." in sentence
    assert "days ago" in sentence
    page.driver.find_element("link text", "The evidence").click()
    page.until("return location.hash === '#/regressions'")
    assert "open" in page.text()


@pytest.mark.parametrize(("state", "links"), [("suspect", 1), ("recovered", 1), ("unchanged", 0)])
def test_the_first_sentence_links_the_evidence_of_what_has_some(page: Page, state: str, links: int) -> None:
    runs = history()
    page.build(runs, judged=verdicts(runs)._replace(headline=(state, "20 %.", runs[-1].id))).open()
    assert page.js("return document.querySelectorAll('h1 a[href=\"#/regressions\"]').length") == links


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_the_chart_begins_within_400_pixels(page: Page, dark: bool) -> None:
    page.show(width=390, height=844, dark=dark)
    judged_page(page, history()).open()
    assert page.js("return document.querySelector('.chart canvas').getBoundingClientRect().top") <= 400
    order = [".headline", ".chart", ".tiles"]
    tops = page.js("return arguments[0].map((one) => document.querySelector(one).getBoundingClientRect().top)", order)
    assert tops == sorted(tops)


def test_a_changed_parameter_has_two_changes(page: Page) -> None:
    """20.5 -> 45.0 -> 44.8, and back: version 1 said nothing of the first step."""
    runs = [done(1, 0.205), done(2, 0.45, dropout_rate=0.3), done(3, 0.448, dropout_rate=0.3), done(4, 0.206)]
    page.build(runs)
    tile = page.open(f"#/run/{runs[1].id}").text(".tiles")
    assert "+24.50 pp since" in tile
    assert "first with these parameters" in tile
    assert "−0.20 pp since" in page.open(f"#/run/{runs[2].id}").text(".tiles")
    tile = page.open(f"#/run/{runs[3].id}").text(".tiles")
    assert "−24.20 pp since" in tile
    assert "+0.10 pp since" in tile
    assert f"{runs[0].merge.sha[:8]}, same parameters" in tile


def test_a_direction_has_a_colour_and_a_sign(page: Page) -> None:
    runs = [done(1, 0.2), done(2, 0.48), done(3, 0.4801), done(4, 0.2)]
    states = ["too few runs", "worse", "no change seen", "better"]
    page.build(runs, judged=Judged({run.id: state for run, state in zip(runs, states, strict=True)})).open("#/runs")
    chips = page.js(
        """return [...document.querySelectorAll("tbody tr")].map((row) => {
            const chips = [...row.querySelectorAll(".chip")].filter((one) => one.offsetWidth);
            const chip = chips.find((one) => one.innerText.includes("pp"));
            return chip ? [chip.innerText, getComputedStyle(chip).color] : null;
        })"""
    )
    better, noise, worse, first = chips
    assert first is None
    assert [text.split()[0] for text, _ in (better, noise, worse)] == ["▼", "≈", "▲"]
    assert len({colour for _, colour in (better, noise, worse)}) == 3


def test_without_verdicts_no_change_has_a_direction(page: Page) -> None:
    page.build([done(1, 0.2), done(2, 0.48)]).open()
    assert "+28.00 pp" in page.text(".tiles")
    assert page.js("return document.querySelectorAll('.chip-failed, .chip-good').length") == 0


def test_the_chart_has_bands_and_marks(page: Page) -> None:
    runs = history()
    judged_page(page, runs).open()
    assert page.drawn("bad") > 20  # the triangle over the culprit
    assert "± " in page.hover(3, 30)
    assert "▲ worse" in page.hover(CULPRIT, 30)
    plain = page.build(runs).open().drawn("bad")
    assert plain == 0


def test_a_series_that_begins_is_marked_and_the_line_is_broken(page: Page) -> None:
    runs = [
        done(n, 0.4)._replace(processor="Xeon" if n < 9 else "EPYC", variables={"beam": str(n > 14)})
        for n in range(1, 20)
    ]
    judged_page(page, runs).open()
    assert page.js("return wer.lines.breaks(wer.decode.fromIndex(WER_INDEX))") == [14]
    assert "From here" in page.hover(8, 19)
    assert "From here" in page.hover(14, 19)
    assert "Dashed: another series begins." in page.text(".chart-card")


# -- regressions


def test_a_regression_shows_culprit_author_step_and_its_trainings(page: Page) -> None:
    runs = history()
    evidence(judged_page(page, runs).open("#/regressions"))
    text = page.text(".regression")
    assert "▲ open" in text
    assert "(95 %:" in text
    assert f"{runs[CULPRIT].merge.sha[:8]} #1025 fix-warnings, by lissyx" in text
    assert "Reuben Morais" in text
    assert "dropout_rate 0.05 → 0.3" in text
    parent, culprit = rows(page)
    assert runs[CULPRIT - 1].merge.sha[:8] in parent
    assert "3 times: " in culprit
    links = page.js("return [...document.querySelectorAll('.regression a')].map((a) => a.href)")
    assert f"{PROJECT.url}/commit/{runs[CULPRIT].merge.sha}" in links
    before, culprit_sha = runs[CULPRIT - 1].merge.sha[:12], runs[CULPRIT].merge.sha
    assert f"{PROJECT.url}/compare/{before}...{culprit_sha}" in links
    assert page.js("return document.querySelectorAll('.regression .spark circle').length") > 20


def test_a_regression_has_a_permalink(page: Page) -> None:
    evidence(judged_page(page, history()).open("#/regressions"))
    page.click(".regression h2 a")
    page.until("return location.hash.startsWith('#/regressions/')")
    address = page.js("return location.hash")
    evidence(page.open(address))
    assert "Culprit" in page.text()
    assert "No such regression" in page.open("#/regressions/nothing").text()


def test_an_accepted_regression_has_its_reason_and_is_not_open(page: Page) -> None:
    runs = history()
    accept = Decision(runs[CULPRIT].merge.sha, "kdavis", "the model must be smaller", "2023-03-20T10:00:00Z")
    judged_page(page, runs, verdicts(runs, [accept]))
    evidence(page.open("#/regressions"))
    assert "✓ accepted" in page.text(".regression")
    assert "the model must be smaller · kdavis · 2023-03-20" in page.text(".regression")
    assert "Open regressions" not in page.open().text()
    assert "✓ accepted." in page.text(".chart-card")


def test_a_regression_that_had_recovered_when_it_was_accepted_shows_both(page: Page) -> None:
    runs = history()
    for place in range(CULPRIT + 4, 30):
        better = done(place + 1, 0.42 + place % 5 / 2000)
        runs[place] = better._replace(merge=runs[place].merge, variables={}, processor="EPYC 7302")
    accept = Decision(runs[CULPRIT].merge.sha, "kdavis", "it was worth it", "2033-03-20T10:00:00Z")
    judged_page(page, runs, verdicts(runs, [accept]))
    evidence(page.open("#/regressions"))
    text = page.text(".regression")
    assert "Recovered by" in text
    assert "it was worth it · kdavis · 2033-03-20" in text


def test_an_event_may_have_more_facts_than_the_page_knows(page: Page) -> None:
    runs = history()
    shown = verdicts(runs)
    more = {
        "authors": ["Ben", HOSTILE],
        "pull_request": "https://github.com/mozilla/DeepSpeech/pull/1025",
        "link": "javascript:alert(1)",
        "files": ["train.py", "model/" + "x" * 300],
        "nothing": None,
        "sets": {},
    }
    shown = shown._replace(events=[{**event, **more} for event in shown.events])
    evidence(page.show(width=390).build(runs, judged=shown).open("#/regressions"))
    text = page.text(".regression")
    assert "Pull request" in text
    assert "train.py" in text
    assert HOSTILE in text
    assert "Nothing" not in text
    assert "Sets" not in text
    hrefs = page.js("return [...document.querySelectorAll('.regression a')].map((a) => a.href)")
    assert "https://github.com/mozilla/DeepSpeech/pull/1025" in hrefs
    assert not any(href.startswith("javascript") for href in hrefs)
    assert page.js("return document.documentElement.scrollWidth") <= 390


def test_a_regression_names_requests_files_and_what_was_never_trained(page: Page) -> None:
    runs = history()
    shown = verdicts(runs)
    culprit, never = runs[CULPRIT].merge.sha, "f" * 40
    url = f"{PROJECT.url}/pull/1025"
    nothing = {"run": None, "author": None, "request": None, "request_url": None, "files": [], "files_count": None}
    blame = [
        {
            "sha": culprit,
            "run": runs[CULPRIT].id,
            "author": "Ben",
            "request": "#1025",
            "request_url": url,
            "url": f"{PROJECT.url}/commit/{culprit}",
            "files": [["train.py", 12, 3], ["a.bin", None, None]],
            "files_count": 7,
            "parameters": ["dropout_rate 0.05 -> 0.3"],
        },
        {**nothing, "sha": never, "url": f"{PROJECT.url}/commit/{never}", "chance": 0.04},
    ]
    more = {"blame": blame, "range_url": f"{PROJECT.url}/compare/aaaaaaa...{culprit}", "gaps": [{"before": culprit}]}
    [event] = shown.events
    event = {**event, **more, "culprits": [[culprit, 0.96], [never, 0.04]]}
    evidence(page.build(runs, judged=shown._replace(events=[event])).open("#/regressions"))
    text = page.text(".regression")
    assert "#1025 fix-warnings, by lissyx · 96 % likely" in text
    assert "Ben" in text
    assert "ffffffff · never trained · 4 %" in text
    assert "7 files" in text
    assert "Gaps" not in text
    page.click(".regression summary")
    assert "train.py +12 −3" in page.text(".regression")
    assert "a.bin +? −?" in page.text(".regression")
    links = page.js("return [...document.querySelectorAll('.regression a')].map((a) => a.href)")
    assert {url, f"{PROJECT.url}/commit/{never}", f"{PROJECT.url}/compare/aaaaaaa...{culprit}"} <= set(links)


@pytest.mark.parametrize(
    "blame", [[], [{}], [dict.fromkeys(("sha", "url", "files", "request"), HOSTILE)], None, [{"files": [None, 7]}]]
)
def test_blame_that_is_damaged_or_hostile_breaks_nothing(page: Page, blame: object) -> None:
    runs = history()
    shown = verdicts(runs)
    more = {"blame": blame, "range_url": "javascript:alert(1)", "strange": {"a": None, "b": [None]}}
    events = [{**event, **more} for event in shown.events]
    evidence(page.build(runs, judged=shown._replace(events=events)).open("#/regressions"))
    assert "Culprit" in page.text(".regression")
    hrefs = page.js("return [...document.querySelectorAll('.regression a')].map((a) => a.href)")
    assert not any(href.startswith("javascript") for href in hrefs)


def test_without_regressions_the_view_says_so(page: Page) -> None:
    page.build([done(1, 0.2)]).open("#/regressions")
    assert "No regression" in page.text()


# -- a run, and its GPUs


def test_a_failed_run_shows_its_error_first_and_who_to_ask(page: Page) -> None:
    runs = [done(1, 0.5), failed(2), failed(3)]
    page.build(runs).open(f"#/run/{runs[2].id}")
    page.until("return document.querySelector('main').innerText.includes('Killed')")
    text = page.text()
    assert text.index("End of err.log") < text.index("End of out.log")
    assert "2nd attempt" in text
    failure = page.text(".failure")
    assert f"The last good run is {runs[0].merge.sha[:8]}" in failure
    page.until("return document.querySelector('.failure').innerText.includes('#1002 importer-ted, by tilmankamp')")
    assert "#1003 learning-rate, by kdavis-mozilla" in page.text(".failure")


def test_a_run_shows_what_changed_and_folds_the_rest(page: Page) -> None:
    run = done(2, 0.4, epochs=75, checkpoint_dir="/data/2", beam=0.1 + 0.2)
    page.build([done(1, 0.5, checkpoint_dir="/data/1"), run]).open(f"#/run/{run.id}")
    page.until("return document.querySelector('main').innerText.includes('Learning curves')")
    text = page.text()
    assert "epochs 30 → 75" in text
    assert "checkpoint_dir" not in text
    assert "learning_rate" not in text
    page.js("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    text = page.text()
    assert "learning_rate" in text
    assert "0.30000000000000004" not in page.text("details:nth-of-type(1)")
    assert page.js("return document.querySelectorAll('.epochs figure svg').length") == 2
    assert page.js("return document.querySelector('.epochs svg').getAttribute('aria-label')").startswith(
        "Loss by epoch"
    )


def gpu_site(page: Page, runs: list[Run], with_samples: int) -> None:
    archived = archive(runs, page.site.parent / "archive")
    for run in archived[-with_samples:]:
        (run.directory / "gpu-usage.csv").write_text(GPU)
    build(archived, page.site, project=PROJECT)


def test_the_gpu_view_shows_the_latest_run_beside_the_one_before(page: Page) -> None:
    runs = [done(n, 0.4) for n in range(1, 5)]
    gpu_site(page, runs, 2)
    page.open("#/gpu")
    page.until("return document.querySelector('main').innerText.includes('The run before:')")
    text = page.text()
    assert runs[3].merge.sha[:8] in text
    assert "10.7 GB of 25.8 GB" in text
    assert "Power, GPU 1: not available" in text
    assert "Temperature, GPU 1: not available" in text
    charts = page.js(
        "return [...document.querySelectorAll('figure')].map((one) => one.querySelectorAll('.curve').length)"
    )
    assert len(charts) == 8  # five metrics of two GPUs, without the two that are not available
    assert page.js("return document.querySelector('figure figcaption').innerText") == "GPU busy, GPU 0"


def test_the_gpu_view_says_where_there_are_no_samples(page: Page) -> None:
    runs = [done(n, 0.4) for n in range(1, 5)]
    page.build(runs).open("#/gpu")
    page.until("return document.querySelector('main').innerText.includes('No GPU samples')")
    page.open(f"#/gpu/{runs[0].id}")
    page.until("return document.querySelector('main').innerText.includes('This run has none')")
    page.open("#/gpu/nothing")
    assert "No such run" in page.text()


# -- for everybody


def views(runs: list[Run]) -> list[str]:
    return ["#/", "#/?axis=date", "#/regressions", "#/runs", "#/parameters", "#/parameters/dropout_rate", "#/gpu",
            f"#/run/{runs[CULPRIT].id}", f"#/run/{runs[-1].id}", "#/nothing"]  # fmt: skip


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_axe_finds_nothing_in_any_view(page: Page, width: int, dark: bool) -> None:
    runs = [*history(), failed(31, "exit 1", "x" * 300)]
    archived = archive(runs, page.site.parent / "archive")
    (archived[28].directory / "gpu-usage.csv").write_text(GPU)
    build(archived, page.site, project=PROJECT, judged=verdicts(runs))
    page.show(width=width, height=844, dark=dark)
    found = {}
    for view in views(runs):
        page.open(view)
        page.until("return !document.querySelector('main').innerText.includes('Reading ')")
        found[view] = axe.faults(page.driver)
    assert not any(found.values()), found


def test_the_keyboard_alone_leads_from_the_sentence_to_the_culprit(page: Page) -> None:
    runs = history()
    judged_page(page, runs).open()

    def tab_to(text: str) -> None:
        for _ in range(60):
            page.driver.switch_to.active_element.send_keys(Keys.TAB)
            if text in str(page.js("return document.activeElement.innerText")):
                return
        raise AssertionError(f"no way by Tab to {text}")

    page.js("document.body.focus()")
    tab_to("The evidence")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until("return location.hash === '#/regressions'")
    evidence(page)
    tab_to(runs[CULPRIT].merge.sha[:8])
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until("return location.hash.startsWith('#/run/')")
    assert runs[CULPRIT].id in page.js("return location.hash")


@pytest.mark.parametrize("view", ["#/", "#/regressions", "#/gpu", "run"])
def test_hostile_text_in_events_and_runs_stays_text(page: Page, view: str) -> None:
    runs = history(subject=HOSTILE, author=HOSTILE)
    shown = verdicts(runs)
    shown = shown._replace(
        events=[{**event, "why": {"who": HOSTILE, "why": HOSTILE, "at": HOSTILE}} for event in shown.events],
        reasons=dict.fromkeys(shown.reasons, HOSTILE),
        marks=[(runs[3].id, HOSTILE, False)],
    )
    page.build(runs, judged=shown).open(f"#/run/{runs[CULPRIT].id}" if view == "run" else view)
    page.until("return !document.querySelector('main').innerText.includes('Reading ')")
    assert page.js("return document.querySelectorAll('main img, main script').length") == 0


def test_ten_years_of_runs_keep_the_regressions_quick(page: Page) -> None:
    runs = years(600)
    page.build(runs, judged=verdicts(runs)).open("#/regressions")
    evidence(page)
    assert page.js("return document.querySelectorAll('*').length") < 30_000
