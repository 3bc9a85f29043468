"""The page over several sites in Debian's Chromium: from disk and over HTTP, without JavaScript, on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech_wer import cli
from tests.commands.test_overview import HOSTILE, beat, site
from tests.end_to_end import axe, visitor
from tests.end_to_end.test_page import Page
from tests.end_to_end.test_page import driver as driver  # the fixtures
from tests.end_to_end.test_page import page as page

SIZES = [(1280, False), (1280, True), (390, False), (390, True)]


@pytest.fixture
def wall(tmp_path: Path) -> Path:
    """Three sites and the page over them."""
    beat(site(tmp_path / "french", "speech/fr", headline=("worse", "Worse: 25.00 %, Ada.", "x")), 60, waiting=1)
    beat(site(tmp_path / "hostile", HOSTILE, headline=(HOSTILE, HOSTILE * 20, "x")), 90_000)
    names = [str(tmp_path / name) for name in ("french", "hostile", "none")]
    cli.main(["overview", "--out", str(tmp_path / "overview.htm"), *names])
    return tmp_path / "overview.htm"


def test_it_opens_from_disk_and_leads_to_the_sites(page: Page, wall: Path) -> None:
    page.driver.get(f"file://{wall}")
    page.until("return document.querySelector('.life time').textContent === 'just now'")
    assert "1 worse, 1 silent, 1 unreadable" in page.text()
    assert page.faults() == []
    page.click("tbody a")
    page.until("return document.title.includes('speech/fr')")
    page.until("return document.querySelector('main').innerText.includes('25.00')")


def test_it_opens_from_a_web_host(page: Page, wall: Path) -> None:
    with visitor.served(wall.parent) as address:
        page.driver.get(f"{address}/overview.htm")
        assert "speech/fr" in page.text()
        assert page.faults() == []
        page.click("tbody a")
        page.until("return document.title.includes('speech/fr')")


def test_it_reads_without_javascript(page: Page, wall: Path) -> None:
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.driver.get(f"file://{wall}")
        words = page.driver.find_element("tag name", "main").text
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    for said in ("speech/fr", "25.00 %", "▲ worse", "looked 20", " UTC", "✕ unreadable"):
        assert said in words


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_axe_finds_nothing_and_nothing_is_cut_off(page: Page, wall: Path, width: int, dark: bool) -> None:
    page.show(width=width, height=844, dark=dark).driver.get(f"file://{wall}")
    assert page.js("return document.documentElement.scrollWidth") <= width
    ground = page.js("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(14, 19, 26)") is dark
    assert axe.faults(page.driver) == []
