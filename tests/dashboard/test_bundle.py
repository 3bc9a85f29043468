"""The page's own scripts in one file."""

from __future__ import annotations

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
    assert files[SCRIPT] == b"// -- js/b.js\nfirst;\n// -- js/views/a.js\nsecond;\n"
    assert files.keys() == {"js/parts/theme.js", "js/index.js", "vendor/a.js", "css/page.css", SCRIPT}


def test_a_script_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        bundled(PAGE, {name: content for name, content in FILES.items() if name != "js/b.js"})
