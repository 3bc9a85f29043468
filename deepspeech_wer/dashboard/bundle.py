"""Makes one script of the page's own: a browser asks for one file instead of thirty, and gets them compressed as one.

The page also works without it: index.htm names every script, in the order in which they need each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SCRIPT = "js/page.js"
# Comments on lines of their own are for those who read the source; they are a quarter of it.
_COMMENT = re.compile(rb"^[ \t]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/[ \t]*)\n", re.MULTILINE | re.DOTALL)
_OWN = re.compile(rb'<script defer src="(js/(?!index\.js")[^"]+\.js)"></script>\n?')


def bundled(page: bytes, files: Mapping[str, bytes]) -> tuple[bytes, dict[str, bytes]]:
    """Return index.htm and the files of the site with all deferred scripts of the page's own in SCRIPT.

    `files` are by their names in the site. The data, what is vendored and what must run before the first paint
    stay. No text of a script may go over lines: one of them could look like a comment.
    """
    names = [name.decode() for name in _OWN.findall(page)]
    last = len(names) - 1
    seen = -1

    def one(_: re.Match[bytes]) -> bytes:
        nonlocal seen
        seen += 1
        return f'<script defer src="{SCRIPT}"></script>\n'.encode() if seen == last else b""

    script = b"".join(b"// %s\n%s" % (name.encode(), _COMMENT.sub(b"", files[name])) for name in names)
    kept = {name: content for name, content in files.items() if name not in set(names)}
    return _OWN.sub(one, page), {**kept, SCRIPT: script}
