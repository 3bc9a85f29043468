"""The command overview: one static page over several sites."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from deepspeech_wer import clock, files, xdg_directories
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.dashboard import glance, overview
from deepspeech_wer.dashboard.assets import INDEX
from deepspeech_wer.dashboard.overview import Line
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE, TROUBLE


def run(options: argparse.Namespace) -> int:
    """Write the page, or with --json print what it says. A site that cannot be read gets its line, and exit code 1."""
    given = [Path(name) for name in options.directory] or [every_setting.load().places.data.parent]
    out = Path(options.out)
    found = [place for path in given for place in _sites(path)]
    lines, troubles = [], []
    for directory, site in found:
        try:
            lines.append(_line(directory, site, out.parent))
        except Trouble as trouble:
            reason = str(trouble).partition(": ")[2]  # a visitor has no use for the path
            lines.append(Line(_name(directory), "", None, reason))
            troubles.append(str(trouble))
    made_at = clock.utc_now()
    if options.json:
        records = [_record(str(directory), line, made_at) for (directory, _), line in zip(found, lines, strict=True)]
        print(json.dumps(records, indent=1))
    else:
        _write(out, overview.page(lines, made_at))
        for text in troubles:
            say(text)
        say(f"{overview.summary(lines, made_at)}; written to {out}")
    return TROUBLE if troubles else DONE


def _sites(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (directory, site) for a built site, a tracker's data directory, or a data root with several of them."""
    if (path / INDEX).exists():
        yield path, path
    elif (path / "site").is_dir():
        yield path, path / "site"
    else:
        found = sorted(one for one in path.glob(f"{xdg_directories.NAME}*") if (one / "site").is_dir())
        yield from ((one, one / "site") for one in found or [path])


def _line(directory: Path, site: Path, start: Path) -> Line:
    found = glance.read(site)
    return Line(_name(directory), found.address or _relative(site / INDEX, start), found)


def _name(directory: Path) -> str:
    return Path(os.path.realpath(directory)).name


def _relative(page: Path, start: Path) -> str:
    """Return the address of a page as seen from a directory: it holds on disk, and on a web host with both of them."""
    path = os.path.relpath(os.path.realpath(page), os.path.realpath(start))
    return quote(os.fsencode(path if path.startswith("..") else f"./{path}"))  # `a:b` would be a scheme


def _write(out: Path, page: bytes) -> None:
    try:
        files.write_atomically(out, page)
    except OSError as error:
        raise Trouble(f"{out}: {error.strerror}: choose another file with --out") from None


def _record(directory: str, line: Line, made_at: str) -> dict[str, object]:
    site = line.site
    if site is None:
        return {"directory": directory, "trouble": line.trouble}
    return {
        "directory": directory,
        "name": site.name,
        "branch": site.branch,
        "link": line.link,
        "test_wer": site.newest,
        "runs": len(site.rates),
        "verdict": site.state or None,
        "sentence": site.sentence or None,
        "looked_at": site.looked_at,
        "tracker": overview.life(site, made_at),
        "waiting": site.waiting,
        "training": site.training or None,
        "trouble": None,
    }
