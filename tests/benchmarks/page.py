"""Measures the page: `python -m tests.benchmarks.page [RUNS ...]` prints times, CPU, heap and sizes.

Sizes are 100, 1000, 10000 and 100000 runs. The files of single runs, which the page loads once somebody looks at
them, are there of a few runs alone. Needs Chromium. "CPU" is the time that the main thread computed, whatever else the
machine does; "drawn" is the time by the clock until the frame with the view.
"""

from __future__ import annotations

import gzip
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from deepspeech_wer.dashboard import assets, build
from deepspeech_wer.dashboard.judged import Judged
from deepspeech_wer.dashboard.literal import fingerprint
from deepspeech_wer.dashboard.scripts import index_js, merges_js
from deepspeech_wer.records import Run
from tests.invented_runs import PROJECT, archive, years

SIZES = (100, 1_000, 10_000, 100_000)
ROUNDS = 5
WITH_FILES = 30
VIEWS = ("#/", "#/?axis=date", "#/runs", "#/regressions", "#/parameters", "#/gpu")
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


class Figures(NamedTuple):
    """What drawing a view took."""

    drawn_ms: float
    cpu_ms: float
    heap_mb: float
    elements: float


def main() -> None:
    """Measure and print."""
    sizes = [int(word) for word in sys.argv[1:]] or SIZES
    for count in sizes:
        with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as profile:
            site = made(count, Path(directory))
            weigh(count, site)
            show(count, site, profile)


def made(count: int, home: Path) -> Path:
    """Build a site of `count` runs, and print what making its index takes."""
    site = home / "site"
    build(archive(years(WITH_FILES), home / "archive"), site, project=PROJECT)
    runs = years(count)
    start = time.process_time()
    judged = verdicts(runs)
    merges = b"".join(merges_js(runs, judged))
    index = index_js(runs, PROJECT, fingerprint(merges), judged)
    print(f"{count:>7} runs: js/index.js and js/merges.js in {time.process_time() - start:.2f} CPU-seconds")
    [data] = (site / "js").glob("index.*.js")
    data.write_bytes(index)
    (site / "js/merges.js").write_bytes(merges)
    return site


def verdicts(runs: list[Run]) -> Judged:
    """Some of each kind, and a band for each measured run."""
    kinds = {place % 97: state for place, state in enumerate(("worse", "suspect", "better", "recovered"))}
    states = {
        run.id: kinds.get(number % 97, "no change seen") if run.hyper else "failed" for number, run in enumerate(runs)
    }
    measured = [run.id for run in runs if run.hyper]
    return Judged(states, sigmas=dict.fromkeys(measured, 0.8), bands=dict.fromkeys(measured, 1.6))


def zipped(*files: Path) -> int:
    """Return the bytes of files, each compressed."""
    return sum(len(gzip.compress(file.read_bytes(), 6)) for file in files)


def weigh(count: int, site: Path) -> None:
    """Print sizes."""
    [data] = (site / "js").glob("index.*.js")
    index = zipped(data)
    unread = {data.relative_to(site), Path("vendor/uplot/LICENSE")}
    static = [site / path for path in assets(site / "index.htm") if path not in unread]
    own = [path for path in static if "vendor" not in path.parts]
    print(f"{count:>7} runs: js/index.js, gz {index / 1000:.1f} kB, {index / count:.1f} bytes a run")
    print(f"{count:>7} runs: own files, gz {zipped(*own, site / 'index.htm') / 1000:.1f} kB")


def show(count: int, site: Path, profile: str) -> None:
    """Print what each view takes."""
    options = webdriver.ChromeOptions()
    for switch in (*SWITCHES, *QUIET, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as driver:
        driver.set_window_size(1280, 900)
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        for view in VIEWS:
            rounds = [draw(driver, f"file://{site}/index.htm{view}") for _ in range(ROUNDS)]
            figures = Figures(*map(statistics.median, zip(*rounds, strict=True)))
            print(
                f"{count:>7} runs: {view:14} drawn after {figures.drawn_ms:6.0f} ms, {figures.cpu_ms:6.0f} ms of CPU, "
                f"{figures.heap_mb:6.1f} MB of heap, {figures.elements:6.0f} elements",
                flush=True,
            )


def draw(driver: webdriver.Chrome, address: str) -> Figures:
    """Load a view in a fresh document."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    before = metrics(driver)
    driver.get(address)
    drawn = driver.execute_async_script(
        """const done = arguments[arguments.length - 1];
        const look = () => {
            const [mark] = performance.getEntriesByName("wer:drawn");
            if (mark) requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
            else setTimeout(look, 5);
        };
        const [mark] = performance.getEntriesByName("wer:drawn");
        mark ? done(mark.startTime) : look();"""
    )
    after = metrics(driver)
    # A new document resets the counters.
    cpu = after["TaskDuration"] - (before["TaskDuration"] if after["TaskDuration"] > before["TaskDuration"] else 0)
    driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    heap = metrics(driver)["JSHeapUsedSize"]
    return Figures(drawn, cpu * 1000, heap / 1e6, driver.execute_script("return document.querySelectorAll('*').length"))


def metrics(driver: webdriver.Chrome) -> dict[str, float]:
    """Return Chromium's own counters."""
    answer = driver.execute_cdp_cmd("Performance.getMetrics", {})
    return {metric["name"]: metric["value"] for metric in answer["metrics"]}


if __name__ == "__main__":
    main()
