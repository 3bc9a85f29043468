"""Names that carry their content's hash for what the page loads, so that a page never meets another version's files.

A visitor who loads index.htm just before a publish fetches its scripts just after it. With fixed names a third of the
page loads then mixed two versions; with hashed ones, index.htm last and the old ones kept, none did. The fixed names
stay published as well: they are the contract, the page just does not load them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection
from html.parser import HTMLParser
from urllib.parse import unquote

from deepspeech_wer.errors import Trouble

_LOADED_RELS = {"stylesheet", "icon", "preload", "modulepreload"}  # other links are addresses for people and feeds
_HASH_CHARS = 16


def hashed_name(path: str, sha256: str) -> str:
    """js/index.js -> js/index.<hash>.js"""
    stem, suffix = posixpath.splitext(path)
    return f"{stem}.{sha256[:_HASH_CHARS]}{suffix}"


def loaded(html: str, files: Collection[str]) -> dict[str, str]:
    """What a page in the web root loads of `files`: the reference as written -> the file's path."""
    finder = _Finder()
    try:
        finder.feed(html)
    except AssertionError as error:  # of the parser's own, for a broken <![
        raise Trouble(f"index.htm is no HTML ({error}): build the site again") from error
    found = {}
    for reference in finder.references:
        path = posixpath.normpath(unquote(re.split(r"[?#]", reference, maxsplit=1)[0]).removeprefix("./"))
        if path in files:
            found[reference] = path
    return found


def renamed(html: str, names: dict[str, str], hashed: Callable[[str], str]) -> str:
    """The page with each reference of `names` replaced by the hashed name of its file; not a byte else differs."""

    def replacement(match: re.Match[str]) -> str:
        reference = match["reference"]
        return match[1] + (hashed(names[reference]) if reference in names else reference) + match[4]

    return re.sub(
        r"""(?P<head>\b(?:src|href)\s*=\s*(?P<quote>["']))(?P<reference>[^"'<>]*)((?P=quote))""", replacement, html
    )


class _Finder(HTMLParser):
    # the standard library's: index.htm is our own, and BeautifulSoup takes longer to import than the rest to publish
    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img") and given.get("src"):
            self.references.append(given["src"] or "")
        if tag == "link" and given.get("href") and _LOADED_RELS & set((given.get("rel") or "").lower().split()):
            self.references.append(given["href"] or "")
