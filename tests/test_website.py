"""The page's scripts: index.htm loads each one once, and a script uses only names of lower directories."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deepspeech_wer"
WEBSITE = PACKAGE / "website"
SCRIPTS = sorted(path.relative_to(WEBSITE).as_posix() for path in WEBSITE.glob("js/**/*.js"))
DATA = ["js/index.js"]  # written by `build`; js/hyper.js and js/merges.js are loaded by js/load.js
VENDOR = ["vendor/uplot/uPlot.iife.min.js"]
FIRST = "js/parts/theme.js"  # must run before the first paint, or the page flashes in the wrong colours

# Which directories the scripts of a directory may use besides their own. No view uses another view.
BELOW = {
    "js/model": {"js/model"},
    "js/load.js": {"js/model"},
    "js/heard.js": {"js/model", "js/load.js"},
    "js/parts": {"js/model", "js/parts"},
    "js/views": {"js/model", "js/load.js", "js/heard.js", "js/parts"},
    "js/app.js": {"js/model", "js/load.js", "js/heard.js", "js/parts", "js/views"},
}
OUTSIDE = {"run", "said", "texts", "edits"}  # called by runs/<id>.js, sets/ and runs/<id>/edits.js
BROWSER = re.compile(
    r"\b(document|window|location|history|navigator|localStorage|matchMedia|getComputedStyle|Node|Event|uPlot)\b"
)


def room(script: str) -> str:
    folder = script.rpartition("/")[0]
    return script if folder == "js" else folder


@cache
def code(script: str) -> str:
    """Return the script without comments."""
    text = re.sub(r"/\*.*?\*/", "", (WEBSITE / script).read_text("utf-8"), flags=re.DOTALL)
    return re.sub(r"(^|[ \t]+)//.*", "", text, flags=re.MULTILINE)


def defined(script: str) -> list[str]:
    """Return the names that a script defines on `wer`, the page's only global."""
    made = re.findall(r"(?<![\w.])window\.wer = \{(.*?)\}", code(script))
    first = [pair.partition(":")[0].strip() for pairs in made for pair in pairs.split(",")]
    return first + re.findall(r"(?<![\w.])wer\.(\w+) = ", code(script))


def used(script: str) -> set[str]:
    taken = re.findall(r"\bconst \{([^}]*)\} = wer;", code(script))
    names = {name.strip() for names in taken for name in names.split(",")}
    return names | set(re.findall(r"(?<![\w.])wer\.(\w+)\b(?! = )", code(script)))


def loaded() -> list[tuple[str, bool]]:
    """Return (address, deferred) of every script in index.htm."""
    page = BeautifulSoup((WEBSITE / "index.htm").read_bytes(), "html.parser")
    return [(str(tag.get("src")), tag.has_attr("defer")) for tag in page.find_all("script")]


def test_every_script_is_loaded_once() -> None:
    assert sorted(address for address, _ in loaded()) == sorted([*SCRIPTS, *DATA, *VENDOR])


def test_only_the_theme_blocks_rendering() -> None:
    assert [address for address, deferred in loaded() if not deferred] == [FIRST]
    assert loaded()[0] == (FIRST, False)


def test_a_script_uses_what_was_loaded_before_it() -> None:
    there: set[str] = set()
    for script in (address for address, _ in loaded() if address in SCRIPTS):
        there.update(defined(script))
        assert used(script) - there == set(), script


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_use_only_lower_directories(script: str) -> None:
    home = {name: other for other in SCRIPTS for name in defined(other)}
    strangers = {
        f"{name} of {home[name]}"
        for name in used(script)
        if home[name] != script and room(home[name]) not in BELOW[room(script)]
    }
    assert strangers == set()


@pytest.mark.parametrize("script", [script for script in SCRIPTS if room(script) == "js/model"])
def test_the_model_knows_no_browser(script: str) -> None:
    assert BROWSER.findall(code(script)) == []


def test_a_name_is_defined_once_and_used_elsewhere() -> None:
    names = [(name, script) for script in SCRIPTS for name in defined(script)]
    assert len(names) == len(dict(names))
    unused = {name for name, script in names if not any(name in used(other) for other in SCRIPTS if other != script)}
    assert unused == OUTSIDE


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_defines_no_globals(script: str) -> None:
    lines = code(script).strip().splitlines()
    assert [*lines[:2], lines[-1]] == ["(() => {", '  "use strict";', "})();"]
    assert all(line.startswith("  ") or not line for line in lines[1:-1])


def test_files_named_in_comments_exist() -> None:
    """Python refers to scripts as website/js/..., the page refers to modules as dashboard/..."""
    gone = []
    for path in [*PACKAGE.rglob("*.py"), *WEBSITE.glob("*/**/*.js"), *WEBSITE.glob("*/*.css")]:
        for name in re.findall(r"\b(?:website|dashboard)/[\w/]+\.\w+", path.read_text("utf-8")):
            if not (PACKAGE / name).exists():
                gone.append(f"{path.relative_to(ROOT)}: {name}")
    assert gone == []
