"""Looks with axe for faults of accessibility in the page that a browser shows."""

from __future__ import annotations

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from tests.javascript import check

RUN = """const done = arguments[0];
axe.run(document, { preload: false }).then((found) => done([found.passes.length, found.violations]))"""


def faults(driver: WebDriver) -> list[tuple[str, list[str]]]:
    """Return the rules that are broken, each with its first elements. Skips the test if axe is not installed."""
    script = check.axe()
    if script is None:
        pytest.skip("no axe: run `python -m tests.javascript.check`, which bin/test does")
    driver.set_script_timeout(60)
    driver.execute_script(script.read_text("utf-8"))
    passes, violations = driver.execute_async_script(RUN)
    assert passes > 10
    return [(one["id"], [node["html"][:160] for node in one["nodes"]][:3]) for one in violations]
