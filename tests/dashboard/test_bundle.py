"""The page's own scripts in one file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deepspeech_wer.dashboard.bundle import SCRIPT, bundled

PAGE = b"""<script src="js/parts/theme.js"></script>
<script defer src="js/index.js"></script>
<script defer src="vendor/a.js"></script>
<script defer src="js/b.js"></script>
<script defer src="js/views/a.js"></script>
</head>
"""
FILES = {
    "js/parts/theme.js": b"theme;",
    "js/index.js": b"data;",
    "vendor/a.js": b"vendor;",
    "js/b.js": b"first;\n",
    "js/views/a.js": b"second;\n",
    "css/page.css": b"p {}",
}


def test_the_scripts_become_one_in_the_order_of_the_page() -> None:
    page, files = bundled(PAGE, FILES)
    assert page == (
        b'<script src="js/parts/theme.js"></script>\n<script defer src="js/index.js"></script>\n'
        b'<script defer src="vendor/a.js"></script>\n<script defer src="js/page.js"></script>\n</head>\n'
    )
    assert files[SCRIPT] == b"// js/b.js\nfirst;\n// js/views/a.js\nsecond;\n"
    assert files.keys() == {"js/parts/theme.js", "js/index.js", "vendor/a.js", "css/page.css", SCRIPT}


def test_a_script_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        bundled(PAGE, {name: content for name, content in FILES.items() if name != "js/b.js"})


def test_comments_on_lines_of_their_own_are_left_out() -> None:
    source = b'// a\nlet x = "// b"; // c\n  /** d */\n  /**\n   * e\n   * f\n   */\nlet y = 1 /* g */;\n'
    _, files = bundled(PAGE, {**FILES, "js/b.js": source})
    assert b'let x = "// b"; // c\nlet y = 1 /* g */;\n// js/views/a.js\n' in files[SCRIPT]
    assert not {b"// a", b"* e", b"d */"} & set(files[SCRIPT].splitlines())


def test_no_text_of_a_script_goes_over_lines() -> None:
    """In such a text, a line that looks like a comment would be one for `bundled`."""
    for path in (Path(__file__).parents[2] / "deepspeech_wer/website/js").rglob("*.js"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            code = re.sub(r"//.*|/\*.*|^\s*\*.*|\\`", "", line)
            assert code.count("`") % 2 == 0, f"{path.name}:{number}"
