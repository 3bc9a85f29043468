"""Takes the pictures of docs/screenshots.md: `python tests/benchmarks/screenshots.py OUT [DEMO_SITE]`.

They are of 10,000 invented runs and, if it is given, of the demo's site: `demo/data/deepspeech_wer/site`.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

sys.path.insert(0, str(Path(__file__).parents[2]))
from deepspeech_wer.dashboard import Heard, Project, build
from deepspeech_wer.judging import comparing, kept_scores
from deepspeech_wer.records import Merge, Run
from tests import heard_runs
from tests.invented_runs import done, failed, iso, years
from tests.invented_verdicts import verdicts
from tests.verdicts import speakers

COUNT, LAST, CULPRIT = (
    10_000,
    30,
    24,
)  # runs, those after the last change of a parameter, the worse one's place in these
GOOD, BAD = 0.34, 0.39  # test WER before and after it
EVERY = timedelta(hours=3)
SCREENS = {"light": (1280, False), "dark": (1280, True), "phone": (390, False)}
MOST_PIXELS = 1_500  # of height: what lies below is more of the same
MOST_WAIT_S = 30.0
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
PEOPLE = ("ada", "ben", "cleo", "dan", "eve")
TOPICS = ("beam-search", "fix-warnings", "new-importer", "learning-rate", "describe-the-job", "faster-batches")
GPU_COLUMNS = (
    "timestamp", "index", "gpu_percent", "memory_controller_percent", "memory_used_mib", "memory_total_mib",
    "temperature_celsius", "power_watts",
)  # fmt: skip


def branch(now: datetime) -> list[Run]:
    """Return COUNT merges, the last one of today; the one at CULPRIT of the last ones made the WER worse."""
    chance = random.Random(5)
    levels = [(BAD, 0.3) if place >= CULPRIT else (GOOD, 0.05) for place in range(LAST)]
    late = [done(1, level + chance.gauss(0, 0.003), dropout_rate=dropout) for level, dropout in levels]
    late[LAST - 3] = failed(1, "exit 1", "ended with exit code 1")
    return [told(run, place, now - (COUNT - place) * EVERY) for place, run in enumerate([*years(COUNT - LAST), *late])]


def told(run: Run, place: int, started: datetime) -> Run:
    """Return a run as the merge of somebody who does not exist, at its place and time."""
    who, what = PEOPLE[place % 5], TOPICS[place % 6]
    sha = f"{random.Random(place).getrandbits(160):040x}"
    subject = f"Merge pull request #{1000 + place} from {who}/{what}"
    merge = Merge(sha, place + 1, subject, who.title(), iso(started), ("b" * 40, "c" * 40))
    if run.hyper:
        run.hyper["context"]["time_started"] = iso(started)
    return run._replace(
        id=f"{started:%Y%m%d-%H%M%S}-{sha[:12]}",
        merge=merge,
        variables={},
        machine="gpu-1",
        started_at=iso(started),
        finished_at=iso(started + timedelta(minutes=140 + place % 30)),
    )


def told_as(run: Run, counted: Run) -> dict[str, Any]:
    """Return the results of a run with the errors of another, whose utterances it has."""
    assert run.hyper
    assert counted.hyper
    results = {name: counted.hyper["results"][name] for name in ("test_wer", "test_errors")}
    return {**run.hyper, "results": {**run.hyper["results"], **results}}


def again(run: Run, level: float) -> Iterator[tuple[Run, None]]:
    """Yield three re-trainings of a run."""
    chance = random.Random(level)
    for seed in (1, 2, 3):
        started = datetime.fromisoformat(run.started_at) + timedelta(minutes=20 * seed)
        one = told(done(1, level + chance.gauss(0, 0.003)), run.merge.ordinal - 1, started)
        yield one._replace(merge=run.merge, rerun_of=run.id, seed=seed), None


def gpu_samples(minutes: int, seed: int) -> str:
    """Return a gpu-usage.csv of two GPUs; the second one tells neither its power nor its temperature."""
    lines = [",".join(GPU_COLUMNS)]
    for minute in range(minutes):
        at = f"{datetime(2024, 3, 1, tzinfo=UTC) + timedelta(minutes=minute):%Y/%m/%d %H:%M:%S}.000"
        busy = 92 - 60 * (minute % 30 < 3) + (minute * seed) % 5
        warm = 45 + min(minute, 35) + minute % 3
        lines.append(f"{at}, 0, {busy}, {busy // 2}, {9000 + 12 * minute}, 24576, {warm}, {80 + 2 * busy}.00")
        lines.append(f"{at}, 1, {busy - 7}, {busy // 2 - 3}, {8000 + 9 * minute}, 24576, [N/A], [Not Supported]")
    return "\n".join(lines) + "\n"


def invented(directory: Path) -> Path:
    """Build the site of COUNT runs; the culprit and the run before it have utterances, and some have GPU samples."""
    now = datetime.now(UTC)
    where, runs = heard_runs.places(directory), branch(now)
    culprit = COUNT - LAST + CULPRIT
    texts = speakers.references(400)
    with_texts: list[tuple[Run, bytes | None]] = [(run, None) for run in runs]
    for place, level in ((culprit - 1, GOOD), (culprit, BAD)):
        counted, data = heard_runs.run(1, speakers.heard(texts, place, level))
        with_texts[place] = runs[place]._replace(hyper=told_as(runs[place], counted)), data
    repeated = [*again(runs[culprit - 1], GOOD), *again(runs[culprit], BAD)]
    made = heard_runs.archive(where, *with_texts, *repeated)
    for place in (culprit - 1, culprit, COUNT - 2, COUNT - 1):
        (made[place].directory / "gpu-usage.csv").write_text(gpu_samples(130 + place % 7 * 4, place % 5))
    own = made[:COUNT]
    measures = kept_scores.update(where, own)
    comparing.update(measures, own, [{"run": run.id, "sigma_pp": 0.8, "sigma_df": 20.0} for run in own])
    project = Project("speech", "https://example.org/team/speech", "main", iso(now))
    heard = Heard(measures.stamp, measures.record, measures.edits, measures.sets)
    build(own, directory / "site", project=project, judged=verdicts(made), heard=heard)
    (directory / "site/js/now.js").write_text(f"window.WER_NOW={json.dumps(heartbeat(now))};")
    return directory / "site"


def heartbeat(now: datetime) -> dict[str, Any]:
    """Return js/now.js of a tracker that trains."""
    job = {
        "sha": "ab" * 20, "subject": "Merge pull request #11001 from ben/dropout", "author": "Ben",
        "attempt": 2, "again": False, "started_at": iso(now - timedelta(hours=2)),
        "ends_at": iso(now + timedelta(hours=3)), "epoch": 12, "epochs": 30,
        "curve": [[n, round(90 / n**0.5, 2), round(96 / n**0.4, 2)] for n in range(1, 13)],
    }  # fmt: skip
    return {"version": 1, "looked_at": iso(now), "every": 3600, "waiting": 3, "index": None, "job": job}


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Yield a browser with a profile of its own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        for switch in (*SWITCHES, *QUIET, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as driver:
            yield driver


def wait(driver: webdriver.Chrome, condition: str) -> None:
    """Wait until a condition of JavaScript is true. Raises SystemExit after MOST_WAIT_S."""
    end = time.monotonic() + MOST_WAIT_S
    while not driver.execute_script(f"return {condition}"):
        if time.monotonic() > end:
            raise SystemExit(f"{driver.current_url}: not true within {MOST_WAIT_S} s: {condition}")
        time.sleep(0.05)


def views(good: str, bad: str) -> Mapping[str, str]:
    """Return name -> address of each view; `good` and `bad` are the runs before and of the regression."""
    return {
        "overview": "#/",
        "regressions": "#/regressions",
        "run": f"#/run/{bad}",
        "compare": f"#/compare/{good}/{bad}",
        "utterances": f"#/utterances/{bad}/against/{good}",
        "runs": "#/runs",
        "parameters": "#/parameters",
        "gpu": "#/gpu",
        "now": "#/?axis=date",
    }


def event_runs(site: Path) -> tuple[str, str]:
    """Return the run before the newest regression, and that of its culprit, as js/merges.js has them."""
    text = (site / "js/merges.js").read_text("utf-8")
    events = json.loads(text[text.index("{") : text.rindex("}") + 1])["events"]
    trained = events[-1]["trained"]
    return trained[0]["runs"][0][0], trained[1]["runs"][0][0]


def take(driver: webdriver.Chrome, address: str, target: Path, *, width: int, dark: bool) -> None:
    """Write a picture of a view, of its whole height up to MOST_PIXELS; of the heartbeat, the card Now alone."""
    is_now = target.name.startswith("now-")
    show(driver, width, 900, dark=dark)
    driver.get("about:blank")
    driver.get(address)
    wait(driver, "Boolean(window.WER_MERGES) && !/Reading (the|both)/.test(document.querySelector('main').innerText)")
    wait(driver, "typeof WER_NOW === 'object'")
    time.sleep(0.5)  # the subjects are drawn when the page is idle
    height = driver.execute_script("return document.documentElement.scrollHeight")
    show(driver, width, height if is_now else min(max(height, 700), MOST_PIXELS), dark=dark)
    data = driver.find_element("css selector", ".now").screenshot_as_png if is_now else driver.get_screenshot_as_png()
    picture = Image.open(io.BytesIO(data))
    picture.convert("RGB").save(target, "WEBP", quality=60, method=6)


def show(driver: webdriver.Chrome, width: int, height: int, *, dark: bool) -> None:
    """Make the window so large, and tell the page which colours are preferred."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def alive(site: Path, copy: Path) -> Path:
    """Copy a site, as it looks while its tracker is alive and idle."""
    shutil.copytree(site, copy)
    now = {**heartbeat(datetime.now(UTC)), "waiting": 0, "job": None}
    (copy / "js/now.js").write_text(f"window.WER_NOW={json.dumps(now)};")
    return copy


def main() -> None:
    """Take all of them."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, chromium() as driver:
        sites = {"10000": invented(Path(directory))}
        if len(sys.argv) > 2:
            sites["demo"] = alive(Path(sys.argv[2]), Path(directory, "demo"))
        for name, site in sites.items():
            good, bad = event_runs(site)
            for view, address in views(good, bad).items():
                for screen, (width, dark) in SCREENS.items():
                    target = out / f"{view}-{name}-{screen}.webp"
                    take(driver, f"file://{site}/index.htm{address}", target, width=width, dark=dark)
                    print(target.name, target.stat().st_size, flush=True)


if __name__ == "__main__":
    main()
