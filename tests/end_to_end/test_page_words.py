"""Compare and Utterances in Debian's Chromium: what visitors see of two runs' words, also with hostile input."""

from __future__ import annotations

import json
import re
import shutil
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import Heard, Judged, build
from deepspeech_wer.dashboard.logs import WHOLE
from deepspeech_wer.judging import comparing, kept_scores
from deepspeech_wer.records import Run
from tests import heard_runs
from tests.end_to_end import axe
from tests.end_to_end.test_page import Page
from tests.end_to_end.test_page import driver as driver  # the fixtures
from tests.end_to_end.test_page import page as page
from tests.end_to_end.test_page import served as served
from tests.heard_runs import invented, texts
from tests.invented_runs import PROJECT

HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(1)</script>"
BEFORE = texts(
    ("the cat sat on", "the cat sat on"), ("one two", "one too"), ("yes", None), ("so it is", "so it is"), names="xyxz"
)
AFTER = texts(
    ("the cat sat on", "a hat sat"), ("one two", "one two"), ("yes", "oh yes"), ("so it is", "so it is"), names="xyxz"
)


def built(
    page: Page,
    runs: Sequence[tuple[Run, bytes | None]],
    judged: Judged | None = None,
    logs: PublishedLogs = WHOLE,
    **changes: Any,
) -> list[Run]:
    """Build the page as a tick does."""
    where = heard_runs.places(page.site.parent)
    made = heard_runs.archive(where, *runs)
    measures = kept_scores.update(where, made)
    comparing.update(measures, made, [{"run": run.id, "sigma_pp": 1.0, "sigma_df": 20.0} for run in made])
    heard = Heard(measures.stamp, measures.record, measures.edits, measures.sets)
    build(made, page.site, project=PROJECT._replace(**changes), heard=heard, judged=judged, logs=logs)
    return made


def two(page: Page, **changes: Any) -> list[Run]:
    return built(
        page,
        [heard_runs.run(1, BEFORE), heard_runs.run(2, AFTER, parameters={"dropout_rate": 0.3})],
        **changes,
    )


def read(page: Page, view: str) -> str:
    """Open a view and wait until all of it is there."""
    page.open(view)
    page.until("return !/Reading (the|both)/.test(document.querySelector('main').innerText)")
    return str(page.js("return document.querySelector('main').innerText.toWellFormed()"))


def compare(page: Page, runs: Sequence[Run]) -> str:
    return read(page, f"#/compare/{runs[0].id}/{runs[1].id}")


def against(page: Page, runs: Sequence[Run], query: str = "") -> str:
    return read(page, f"#/utterances/{runs[1].id}/against/{runs[0].id}{query}")


def spoken(page: Page) -> list[str]:
    """What a screen reader says of each utterance."""
    page.until("return document.querySelectorAll('.utterance').length > 0")
    return list(page.js("return [...document.querySelectorAll('.utterance dl')].map((dl) => dl.textContent)"))


def ids(page: Page) -> list[str]:
    page.until("return document.querySelectorAll('.utterance').length > 0")
    return list(page.js("return [...document.querySelectorAll('.utterance-id')].map((id) => id.textContent)"))


# -- compare


def test_two_runs_are_compared(page: Page) -> None:
    runs = two(page)
    text = compare(page, runs)

    assert "20.00 %" in text
    assert "+20.00 pp" in text
    assert "dropout_rate" in text
    assert "Merges between (1)" in text
    assert f"against {runs[0].merge.sha[:8]} (95 % by speaker" in text  # the sentence is Python's
    assert "1 parameter differs: the change may come from there." in text
    assert "Two trainings of one commit differ by up to 2.95 pp" in text
    assert spoken(page) == [
        "saidthe cat sat onbeforethe cat sat onafter[a for the] [hat for cat] sat [on not heard]",
        "saidone twobeforeone [too for two]afterone two",
    ]


def test_the_verdict_is_the_trackers(page: Page) -> None:
    made = [heard_runs.run(n, invented(100, n, 0.3 if n == 3 else 0.1)) for n in (1, 2, 3)]
    states = {made[0][0].id: "too few runs", made[1][0].id: "no change seen", made[2][0].id: "worse"}
    runs = built(page, made, Judged(states, {}))

    assert "▲ worse" in compare(page, runs[1:])
    far = compare(page, [runs[0], runs[2]])
    table = page.text("table")
    assert "more than noise gives" in table
    assert "worse" not in table
    assert "The tracker judged no step between just these two." in far
    assert "1 other run lies between these two." in far


def test_any_two_runs_are_chosen_by_keyboard(page: Page) -> None:
    runs = built(page, [heard_runs.run(n, invented(30, n)) for n in range(1, 5)])
    read(page, "#/compare")
    assert page.js("return document.getElementById('run-after').value") == runs[3].merge.sha[:8]
    before = page.driver.find_element(By.ID, "run-before")
    before.send_keys(Keys.CONTROL, "a")
    before.send_keys(Keys.NULL)
    before.send_keys(runs[0].merge.sha[:6], Keys.TAB, Keys.CONTROL, "a", Keys.NULL)
    page.driver.switch_to.active_element.send_keys("№3", Keys.ENTER)
    page.until(f"return location.hash === '#/compare/{runs[0].id}/{runs[2].id}'")
    page.until("return document.querySelectorAll('.utterance').length > 0")
    page.driver.find_element(By.ID, "run-before").send_keys("nothing", Keys.ENTER)
    page.until("return document.querySelector('[role=alert]').textContent.includes('No run, or several')")


def test_what_does_not_compare_is_said(page: Page) -> None:
    first, (other, data) = heard_runs.run(1, invented(30, 1)), heard_runs.run(2, invented(40, 2))
    assert other.hyper
    other.hyper["results"]["signature"] = {"set": "other"}
    runs = built(
        page,
        [
            (first[0]._replace(variables={"ds_epochs": "1"}), first[1]),
            (other._replace(variables={"ds_epochs": "2"}), data),
        ],
    )
    text = compare(page, runs)

    assert "The test set, normaliser or decoder is another one" in text
    assert "The operator changed ds_epochs." in text
    assert "not comparable" in page.text("table")


@pytest.mark.parametrize("lost", ["no utterances", "no edits.js", "no test set", "no texts", "no runs/<id>.js"])
def test_what_is_missing_is_said_and_the_rest_is_shown(served: Page, lost: str) -> None:
    made = [heard_runs.run(1, BEFORE), heard_runs.run(2, AFTER)]
    runs = built(served, [made[0], (made[1][0], None)] if lost == "no utterances" else made)
    for pattern in {
        "no edits.js": ["runs/*/edits.js"],
        "no test set": ["sets/*.js"],
        "no texts": ["sets/*/*.js"],
        "no runs/<id>.js": ["runs/*.js"],
    }.get(lost, []):
        for path in served.site.glob(pattern):
            path.unlink()
    text = compare(served, runs)

    assert "20.00 %" in text
    if lost == "no texts":
        served.until("return document.querySelector('main').innerText.includes('What was said could not be read.')")
        assert "too" in served.text()
    else:
        assert "No words to compare" in text
    text = against(served, runs)
    assert lost in ("no texts", "no runs/<id>.js") or "No utterances" in text


@pytest.mark.parametrize("file", ["runs/*/edits.js", "sets/*.js", "sets/*/*.js"])
@pytest.mark.parametrize("change", [("[", "{}&&["), ('"version":1', '"version":2'), (":[", ":null,x:["), ("wer.", "")])
def test_damaged_files_are_reported(page: Page, file: str, change: tuple[str, str]) -> None:
    runs = two(page)
    for path in page.site.glob(file):
        path.write_text(path.read_text().replace(*change))
    assert "20.00 %" in compare(page, runs)
    assert "cannot be drawn" not in page.text()
    text = against(page, runs)
    assert "cannot be drawn" not in text
    assert "No utterances" in text or page.until("return document.querySelectorAll('.utterance').length > 0")
    page.js("window.seen = []")  # the damaged script's own errors


def test_records_of_2016_are_compared(page: Page) -> None:
    rates = [("2016-11-16T10:00:00", 0.36), ("2016-11-17T10:00:00", 0.31)]
    records = [
        {"context": {"time_started": start}, "parameters": {"epochs": n}, "results": {"test_wer": rate}}
        for n, (start, rate) in enumerate(rates)
    ]
    page.only_hyper_js(f"window.ALL_THE_DATA = {json.dumps(records)};")
    text = read(page, "#/compare")

    assert "−5.00 pp" in text
    assert "epochs" in text
    assert "No words to compare" in text


def test_the_markdown_is_text(page: Page) -> None:
    second = heard_runs.run(2, texts(*(("the `c|at` sat", "the <img> sat"),) * 4))
    merge = second[0].merge._replace(subject="*bold* <script> | x\ny", author="[a](b)")
    runs = built(
        page,
        [
            heard_runs.run(1, texts(*(("the `c|at` sat", "the `c|at` sat"),) * 4)),
            (second[0]._replace(merge=merge), second[1]),
        ],
    )
    compare(page, runs)
    page.js("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.press("Copy as Markdown")
    text = str(page.until("return window.copied"))

    assert text.startswith(f"### WER of {runs[1].merge.sha[:8]} against {runs[0].merge.sha[:8]}\n")
    assert "| test | 0.00 % | 33.33 % | +33.33 pp |" in text
    assert r"\*bold\* \<script\> \| x y (\[a\](b))" in text
    assert r"0 → 4 times: “\`c\|at\`” heard as “\<img\>”" in text
    page.until("return document.querySelector('.copy [role=status]').textContent === ' copied'")


def test_the_markdown_is_copied_where_there_is_no_clipboard(page: Page) -> None:
    runs = two(page)
    compare(page, runs)
    page.js(
        """Object.defineProperty(navigator, "clipboard", { value: undefined });
        document.execCommand = (what) => { window.copied = what + document.activeElement.value; return true; };"""
    )
    page.press("Copy as Markdown")

    assert str(page.until("return window.copied")).startswith("copy### WER of")
    assert page.js("return document.activeElement.textContent") == "Copy as Markdown"


# -- utterances


def test_the_worst_come_first_with_their_figures(page: Page) -> None:
    runs = two(page)
    text = read(page, f"#/utterances/{runs[1].id}")

    assert ids(page) == ["a", "c"]
    assert spoken(page)[1] == "saidyesheard[oh not said] yes"
    assert "3 errors in 4 words" in text
    assert "40.00 %" in text
    assert "of 4" in page.text(".tiles")
    assert page.text("table").split("\n")[0].split("\t") == ["Said", "Heard", "Times"]


def test_what_got_worse_and_better_against_another_run(page: Page) -> None:
    runs = two(page)
    text = against(page, runs)

    assert ids(page) == ["a"]
    assert "got worse (1)" in text
    assert f"pp against {runs[0].merge.sha[:8]}" in text
    page.press("got better (1)")
    page.until("return location.hash.endsWith('?list=better')")
    page.until("return document.querySelector('.utterance-id').textContent === 'b'")
    assert page.js("return [...document.querySelectorAll('.word-other')].some((w) => w.textContent === '≠ too')")
    page.open(page.js("return location.hash"))  # the state is in the address
    assert ids(page) == ["b"]


def test_words_speakers_and_lengths_have_their_change(page: Page) -> None:
    runs = two(page)
    against(page, runs)
    tables = {
        str(page.js("return arguments[0].getAttribute('aria-label')", table)): table.text
        for table in page.driver.find_elements(By.CSS_SELECTOR, ".scroll")
    }

    assert "cat hat 0 1 +1" in tables["Substitutions"].replace("\n", " ")
    assert "two too 1 0 −1" in tables["Substitutions"].replace("\n", " ")
    assert "on nothing 0 1 +1" in tables["Deletions"].replace("\n", " ")
    assert re.search(r"x\s+2\s+4 / 5\s+80.00 %\s+\+60.00 pp", tables["Errors by speaker"])
    assert re.search(r"0 to 5\s+4\s+4 / 10\s+40.00 %\s+\+20.00 pp", tables["Errors by length"])


def test_wrong_words_are_marked_and_coloured(page: Page) -> None:
    runs = two(page)
    against(page, runs)
    ids(page)
    marks = page.js(
        """return Object.fromEntries(["other", "lost", "added"].map((kind) => {
            const word = document.querySelector(`.word-${kind}`);
            return [kind, [word.textContent[0], getComputedStyle(word).color]];
        }))"""
    )
    plain = page.js("return getComputedStyle(document.querySelector('.word-right')).color")

    assert {kind: mark for kind, (mark, _) in marks.items()} == {"other": "≠", "lost": "−", "added": "+"}
    assert all(colour != plain for _, colour in marks.values())


def test_many_utterances_come_in_pages_and_are_searched(page: Page) -> None:
    runs = built(page, [heard_runs.run(1, invented(2_500, 1))])
    read(page, f"#/utterances/{runs[0].id}?page=3")
    third = ids(page)
    assert len(third) == 20
    page.press("Next ›")
    page.until(f"return document.querySelector('.utterance-id').textContent !== {json.dumps(third[0])}")
    assert page.js("return location.hash").endswith("?page=4")
    assert page.js("return document.activeElement.tagName") == "OL"  # the keyboard goes on from there
    page.driver.find_element(By.ID, "search").send_keys("000017")
    page.until("return document.querySelectorAll('.utterance').length === 1")
    assert ids(page) == ["utterance-000017"]
    assert page.js("return document.querySelector('.utterance dl').textContent").startswith("said")


def test_texts_are_loaded_for_the_page_alone(served: Page) -> None:
    runs = built(served, [heard_runs.run(1, invented(4_000, 1))])
    read(served, f"#/utterances/{runs[0].id}")
    ids(served)
    loaded = served.js("return performance.getEntriesByType('resource').map((r) => r.name)")

    assert len(list(served.site.glob("sets/*/*.js"))) == 4
    assert 1 <= sum("/sets/" in name and re.search(r"/\d\.js", name) is not None for name in loaded) <= 4
    served.open(f"#/run/{runs[0].id}")
    served.until("return document.querySelector('main').innerText.includes('What it heard')")
    loaded = served.js("return performance.getEntriesByType('resource').map((r) => r.name)")
    assert not any("/sets/" in name or "edits.js" in name for name in loaded)


def test_what_changed_for_good_is_listed(page: Page) -> None:
    made = [heard_runs.run(n, invented(200, n)) for n in range(1, 9)]
    for n in (5, 6, 7):
        rows = json.loads(made[n][1])["rows"]
        rows[17][4] = "nonsense"
        made[n] = heard_runs.run(n + 1, rows)
    runs = built(page, made)
    text = read(page, f"#/utterances/{runs[7].id}?list=lasting")

    assert "each of the 3 newest trainings made more errors, or fewer, than each of the 5 before" in text
    assert "utterance-000017" in ids(page)


def test_several_test_sets_are_chosen(page: Page) -> None:
    rows = [[*row, name] for name, size in (("clean", 20), ("other", 30)) for row in invented(size, 1)]
    data = json.dumps({"columns": [*heard_runs.COLUMNS, "set"], "rows": rows}).encode()
    runs = built(page, [(heard_runs.run(1, invented(20, 1))[0], data)])
    read(page, f"#/utterances/{runs[0].id}")
    assert "WER, clean" in page.text(".tiles")
    page.press("other")
    page.until("return document.querySelector('.tiles').innerText.includes('WER, other')")
    page.open(page.js("return location.hash"))
    page.until("return document.querySelector('.tiles').innerText.includes('WER, other')")


def test_the_run_view_leads_to_the_words_by_keyboard(page: Page) -> None:
    runs = two(page)
    page.open(f"#/run/{runs[1].id}")
    page.until("return document.querySelector('main').innerText.includes('What it heard')")
    text = page.text()
    assert "57.14 %" not in page.text("h1")
    assert f"pp against {runs[0].merge.sha[:8]}" in text
    link = page.driver.find_element(By.LINK_TEXT, "Utterances against the run before")
    for _ in range(60):
        if page.js("return document.activeElement === arguments[0]", link):
            break
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.until("return location.hash.startsWith('#/utterances/')")
    assert ids(page) == ["a"]


def test_a_culprits_words_are_reached_from_its_regression_by_keyboard(page: Page) -> None:
    made = [heard_runs.run(1, BEFORE), heard_runs.run(2, AFTER)]
    sha = made[1][0].merge.sha
    event = {"id": sha[:12], "start": sha, "culprits": [[sha, 0.99]], "step_pp": 20.0, "interval_pp": [10.0, 30.0]}
    event |= {"state": "open", "closed_by": None, "retrained": 0, "trained": [], "why": None}
    runs = built(page, made, Judged({made[1][0].id: "worse"}, {}, events=[event]))
    page.open("#/regressions")
    page.until("return document.querySelector('main').innerText.includes('words that changed')")
    page.driver.find_element(By.LINK_TEXT, "words that changed").send_keys(Keys.ENTER)
    page.until(f"return location.hash === '#/compare/{runs[0].id}/{runs[1].id}'")

    assert spoken(page)[0].endswith("after[a for the] [hat for cat] sat [on not heard]")
    assert "▲ +20.00 pp" in page.text("table")


def test_a_job_that_says_otherwise_is_named_on_the_page(page: Page) -> None:
    run, data = heard_runs.run(1, BEFORE)
    assert run.hyper
    run.hyper["results"]["test_wer"] = 0.01
    runs = built(page, [(run, data), (heard_runs.run(2, AFTER)[0], b"{")])
    page.open(f"#/run/{runs[0].id}")
    page.until("return document.querySelector('main').innerText.includes('the job says WER 1.00 %')")
    assert "Its utterances" in page.text()
    page.open(f"#/run/{runs[1].id}")
    page.until("return document.querySelector('main').innerText.includes('Its utterances are not scored')")
    assert "The tracker could not score them: utterances.json" in read(page, f"#/utterances/{runs[1].id}")


# -- recordings


@pytest.mark.parametrize(
    ("audio", "expected", "rule"),
    [
        ("audio/{id}.wav", "audio/sub%20dir/clip%231.wav", "media-src 'self'"),
        ("../sound", "../sound/sub%20dir/clip%231", "media-src 'self'"),
        ("https://media.example.org/x?clip={id}", "https://media.example.org/x?clip=sub%20dir/clip%231",
         "media-src https://media.example.org"),
    ],
)  # fmt: skip
def test_recordings_have_a_player_where_the_owner_publishes_them(
    page: Page, audio: str, expected: str, rule: str
) -> None:
    rows = [["sub dir/clip#1", "x", 1, "a b", "a"], ["../../etc", "x", 1, "a b", "a"]]
    runs = built(page, [heard_runs.run(1, rows)], audio=audio)
    read(page, f"#/utterances/{runs[0].id}")
    ids(page)

    players = page.js("return [...document.querySelectorAll('audio')].map((a) => [a.getAttribute('src'), a.preload])")
    assert players == [[expected, "none"]]
    policy = page.js("return document.querySelector('meta[http-equiv]').content")
    assert policy.endswith(f"; {rule}")
    assert policy.startswith("default-src 'none'")


def test_a_recording_is_played_from_the_allowed_place_alone(served: Page) -> None:
    runs = built(served, [heard_runs.run(1, BEFORE)], audio="audio/{id}.wav")
    (served.site / "audio").mkdir()
    with wave.open(str(served.site / "audio" / "b.wav"), "wb") as sound:
        sound.setparams((1, 2, 8_000, 0, "NONE", ""))
        sound.writeframes(bytes(1_600))
    read(served, f"#/utterances/{runs[0].id}?q=too")
    ids(served)
    served.js("document.querySelector('audio').load(); document.querySelector('audio').preload = 'auto'")
    served.until("return document.querySelector('audio').readyState > 0")


def test_by_default_there_is_no_player_and_no_media_is_allowed(page: Page) -> None:
    runs = two(page)
    read(page, f"#/utterances/{runs[1].id}")
    ids(page)

    assert page.js("return document.querySelectorAll('audio').length") == 0
    assert "media-src" not in page.js("return document.querySelector('meta[http-equiv]').content")


# -- any input, any screen


FIELDS = {
    "markup": HOSTILE,
    "turned": "\u202eevil\u202d gnp.exe",
    "surrogate": "\ud83d lone \udc00",
    "long": "y" * 10_000,
    "controls": "a\x00b\x1b[31m\u2028c",
    "proto": "__proto__",
    "arabic": "السلام عليكم",
}


def hostile(kind: str) -> list[tuple[Run, bytes]]:
    text = FIELDS[kind]
    before = [[f"{text}{n}", text, 1, f"{text} said {n}", f"{text} said"] for n in range(3)]
    after = [[*row[:4], f"{text}x {text}" if n else None] for n, row in enumerate(before)]
    made = [heard_runs.run(1, before), heard_runs.run(2, after, parameters={text: text})]
    for place, (run, data) in enumerate(made):
        merge = run.merge._replace(subject=text, author=text)
        variables = {"ds_x": text if place else "1"}
        made[place] = (
            run._replace(merge=merge, variables=variables),
            data.replace(b'"test"', json.dumps(text[:190]).encode()),
        )
    return made


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", FIELDS)
def test_any_text_is_shown_as_text(page: Page, kind: str, width: int) -> None:
    runs = built(page.show(width=width, dark=width == 390), hostile(kind), audio="audio")
    for view in (f"#/compare/{runs[0].id}/{runs[1].id}", f"#/utterances/{runs[1].id}/against/{runs[0].id}",
                 f"#/utterances/{runs[1].id}?list=wrong&q=said", f"#/run/{runs[1].id}"):  # fmt: skip
        read(page, view)
        page.until("return document.querySelector('main').children.length > 1")
        assert page.js("return document.querySelectorAll('main img, main script').length") == 0
        assert page.js("return document.documentElement.scrollWidth <= innerWidth"), view
        assert page.faults() == []


@pytest.mark.parametrize("place", ["run", "other", "set", "list", "page"])
@pytest.mark.parametrize("text", [HOSTILE, "__proto__", "%", "\u202e", "-1e9", "x" * 5_000])
def test_no_address_breaks_a_view(page: Page, place: str, text: str) -> None:
    runs = two(page)
    base = f"#/utterances/{runs[1].id}/against/{runs[0].id}"
    view = {
        "run": f"#/utterances/{text}",
        "other": f"#/compare/{runs[1].id}/{text}",
        "set": f"{base}?set={text}",
        "list": f"{base}?list={text}",
        "page": f"{base}?page={text}",
    }[place]
    shown = read(page, view)

    assert "no such run" in shown.lower() or "no run" in shown.lower() or ids(page) == ["a"]
    assert page.js("return document.querySelectorAll('main img, main script').length") == 0


@pytest.mark.parametrize("view", ["compare", "against"])
def test_a_phone_needs_no_sideways_scrolling_and_targets_are_large(page: Page, view: str) -> None:
    runs = built(page.show(width=390, height=844), [heard_runs.run(n, invented(60, n)) for n in (1, 2)])
    (compare if view == "compare" else against)(page, runs)
    ids(page)

    assert page.js("return document.documentElement.scrollWidth") <= 390
    small = page.js(
        """return [...document.querySelectorAll("main button, main input")].filter((target) => {
            const { width, height } = target.getBoundingClientRect();
            return width && (width < 24 || height < 40);
        }).map((target) => target.outerHTML)"""
    )
    assert small == []


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_axe_finds_nothing(page: Page, width: int, dark: bool) -> None:
    runs = built(
        page.show(width=width, height=844, dark=dark), [heard_runs.run(n, invented(60, n)) for n in (1, 2)], audio="a"
    )
    found = {}
    for view in (f"#/compare/{runs[0].id}/{runs[1].id}", f"#/utterances/{runs[1].id}/against/{runs[0].id}",
                 f"#/run/{runs[1].id}", "#/compare/a/b", "#/utterances/none"):  # fmt: skip
        read(page, view)
        found[view] = axe.faults(page.driver)
    assert not any(found.values()), found


def test_everything_is_drawn_over_http(served: Page) -> None:
    runs = two(served)
    assert "+20.00 pp" in compare(served, runs)
    assert len(spoken(served)) == 2
    against(served, runs)
    assert ids(served) == ["a"]
    assert served.faults() == []


def test_an_archive_without_utterances_has_a_compare_view(page: Page) -> None:
    runs = built(page, [(heard_runs.run(n, BEFORE)[0], None) for n in (1, 2)])

    assert "No words to compare" in compare(page, runs)
    assert not (page.site / "sets").exists()
    page.build([])
    assert "No runs yet" in read(page, "#/compare")


def test_no_path_of_the_machine_is_published(tmp_path: Path) -> None:
    made = Page.__new__(Page)
    made.site = tmp_path / "site"
    place = "/home/ada/corpora/secret"
    row = [f"{place}/clips/1.wav", f"{place}/ada", 1, "a b", "a"]
    run, data = heard_runs.run(1, [row, row, [f"{place}/clips/2.wav", f"{place}/ben", 1, "c", "c"]])
    assert run.hyper
    run.hyper["results"]["test_wer"] = 0.9
    absurd = json.dumps(
        {"columns": ["id", "reference", "hypothesis"], "rows": [[f"{place}/x.wav", "a " * 6_000, "b " * 6_000]]}
    ).encode()
    runs = built(made, [(run, data), (heard_runs.run(2, [row])[0], absurd)], logs=PublishedLogs("trimmed"))

    published = {path: path.read_bytes() for path in made.site.rglob("*.js")}
    assert [path for path, text in published.items() if b"/home/ada" in text] == []
    texts = [(made.site / "runs" / f"{one.id}.js").read_text() for one in runs]
    assert "occurs again" in texts[0]
    assert "too long to be scored" in texts[1]
    assert b"clips/1.wav" in next(iter(made.site.glob("sets/*.js"))).read_bytes()


def test_a_rebuilt_site_keeps_no_test_set_that_no_run_needs(tmp_path: Path) -> None:
    made = Page.__new__(Page)
    made.site = tmp_path / "site"
    runs = built(made, [heard_runs.run(1, invented(20, 1)), heard_runs.run(2, invented(30, 2))])
    assert len(list(made.site.glob("sets/*.js"))) == 2
    shutil.rmtree(runs[0].directory)
    where = heard_runs.places(tmp_path)
    measures = kept_scores.update(where, runs[1:])
    kept_scores.save(where, measures)
    build(
        runs[1:],
        made.site,
        project=PROJECT,
        heard=Heard(measures.stamp, measures.record, measures.edits, measures.sets),
    )

    assert len(list(made.site.glob("sets/*.js"))) == 1
    assert len(list(made.site.glob("sets/*/*.js"))) == 1
    assert len([path for path in (made.site / "sets").iterdir() if path.is_dir()]) == 1
