"""Measures building and drawing the page: `python tests/benchmarks/page.py [RUNS]` prints times and sizes."""

from __future__ import annotations

import gzip
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

sys.path.insert(0, str(Path(__file__).parents[2]))
from deepspeech_wer.dashboard import assets, build, site_files
from deepspeech_wer.records import Run
from tests.invented_runs import PROJECT, archive, done, years

ROUNDS = 5
SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def zipped(*files: Path) -> int:
    return sum(len(gzip.compress(file.read_bytes(), 6)) for file in files)


def time_building(runs: list[Run], site: Path) -> None:
    print(f"build, all new             {seconds(lambda: build(runs, site, project=PROJECT)):8.2f} s")
    print(f"build, nothing new         {seconds(lambda: build(runs, site, project=PROJECT)):8.2f} s")
    more = [*runs, *archive([done(len(runs) + 1, 0.4)], site.parent / "archive")]
    print(f"build, one run more        {seconds(lambda: build(more, site, project=PROJECT)):8.2f} s")
    print(f"list what to publish       {seconds(lambda: site_files(site)):8.2f} s")


def weigh(count: int, site: Path) -> None:
    [data] = (site / "js").glob("index.*.js")
    index = zipped(data)
    unread = {data.relative_to(site), Path("vendor/uplot/LICENSE")}
    static = [site / path for path in assets(site / "index.htm") if path not in unread]
    print(f"js/index.js, gz            {index / 1000:8.1f} kB {index / count:8.1f} bytes a run")
    print(f"js/hyper.js, gz            {zipped(site / 'js/hyper.js') / 1000:8.1f} kB")
    print(f"static files, gz           {zipped(*static, site / 'index.htm') / 1000:8.1f} kB")


def time_drawing(site: Path, profile: str) -> None:
    options = webdriver.ChromeOptions()
    for switch in (*SWITCHES, *QUIET, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as driver:
        driver.execute_cdp_cmd("Performance.enable", {})
        for view in ("#/", "#/?axis=date", "#/runs", "#/parameters"):
            figures = [draw(driver, f"file://{site}/index.htm{view}") for _ in range(ROUNDS)]
            drawn, cpu, elements = (statistics.median(column) for column in zip(*figures, strict=True))
            print(f"{view:15} drawn after {drawn:6.0f} ms, main thread {cpu:6.0f} ms, {elements:6.0f} elements")


def draw(driver: webdriver.Chrome, address: str) -> tuple[float, float, float]:
    driver.get("about:blank")
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
    return drawn, cpu * 1000, driver.execute_script("return document.querySelectorAll('*').length")


def metrics(driver: webdriver.Chrome) -> dict[str, float]:
    answer = driver.execute_cdp_cmd("Performance.getMetrics", {})
    return {metric["name"]: metric["value"] for metric in answer["metrics"]}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as profile:
        site = Path(directory, "site")
        runs = archive(years(count), Path(directory, "archive"))
        print(f"{count} runs")
        time_building(runs, site)
        weigh(count, site)
        time_drawing(site, profile)


if __name__ == "__main__":
    main()
