"""Reading the published site back through the web server: does it serve what was published?

SFTP can succeed in a directory that no web server shows, behind a cache that shows last week's page, or on a host whose
DirectoryIndex does not list index.htm. Importing this loads requests.
"""

from __future__ import annotations

import hashlib
import html
import re
import secrets
import threading
from collections.abc import Iterator
from urllib.parse import quote, urljoin, urlsplit

import requests

from deepspeech_wer.errors import Trouble, innermost
from deepspeech_wer.publish.plan import INDEX, Entries, Entry

TIMEOUT_S = 15.0  # of silence
PATIENCE_S = 60.0  # for all of it: the tracker's lock is held meanwhile
LARGEST = 64 * 1024 * 1024  # bytes of an answer that are read
SHOWN = 80
HOPS = 5


def differences(url: str, entries: Entries, sent: tuple[str, ...]) -> tuple[str, ...]:
    """One line for each address that serves something other than what was published: what, and what may be wrong."""
    base = url if url.endswith("/") else f"{url}/"
    found = list[str]()
    # In a thread, since no time-out of requests ends an answer that drips; a daemon, since nobody waits for it then.
    thread = threading.Thread(target=lambda: found.extend(_compare(base, entries, sent)), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    slow = [f"{base}: still being read after {PATIENCE_S:g} s: is the web server that slow?"]
    return (*found, *(slow if thread.is_alive() else []))


def _compare(base: str, entries: Entries, sent: tuple[str, ...]) -> Iterator[str]:
    """Compare what `/`, the page, its data and a file of one run serve with the files."""
    run = [path for path in (*sent, *entries) if path.startswith("runs/") and path in entries][:1]
    data = [path for path in entries if re.fullmatch(r"js/index\.[0-9a-f]+\.js", path)]
    page = ["", INDEX] if INDEX in entries else []
    with requests.Session() as session:
        session.headers.update({"User-Agent": "deepspeech-wer", "Cache-Control": "no-cache"})
        for address in (*page, *data, *run):
            problem = _difference(session, base + quote(address), entries[address or INDEX], address)
            if problem:
                yield f"{base}{address}: {problem}"
                if problem.startswith("no answer"):
                    break


def _difference(session: requests.Session, address: str, entry: Entry, name: str) -> str:
    """What is wrong with what an address serves; empty if it serves the published file."""
    index = "" if name else f"set DirectoryIndex {INDEX}"
    try:
        status, body, age = _fetch(session, address)
        same = hashlib.sha256(body).hexdigest() == entry.sha256
        fresh = body if same or status != 200 else _fetch(session, f"{address}?{secrets.token_hex(8)}")[1]
    except Trouble as trouble:
        return str(trouble)
    except (requests.RequestException, OSError, ValueError) as error:  # bad addresses raise any of these
        return f"no answer ({innermost(error)}): is ds_website_url right, and the web server up?"
    if status != 200:
        return f"answers {status}: {index or 'does the web server show this directory and these modes?'}"
    if same:
        return ""
    if hashlib.sha256(fresh).hexdigest() == entry.sha256:
        return f"a cache in between serves an older version{f' ({age} s old)' if age else ''}; the web server is right"
    cure = index or "is ds_website_server_root the directory it shows?"
    beginning = " ".join(html.unescape(body[: SHOWN * 4].decode("utf-8", "replace")).split())[:SHOWN]
    return f"serves {len(body):,} bytes that begin {beginning!r}, not the {entry.size:,} published: {cure}"


def _fetch(session: requests.Session, address: str) -> tuple[int, bytes, str]:
    """Status, body (unpacked, whatever compression the server chose), age in a cache. Raises RequestException, Trouble.

    Redirects are followed on the same host alone: what another one answers, inside a firewall perhaps, is not for logs.
    """
    for _ in range(HOPS):
        with session.get(address, timeout=TIMEOUT_S, stream=True, allow_redirects=False) as response:
            if response.is_redirect:
                there = urljoin(address, response.headers["Location"])
                if _host(there) != _host(address):
                    other = ascii(urlsplit(there).hostname)[:SHOWN]
                    cure = "set ds_website_url to the final address"
                    raise Trouble(f"redirects to another host, {other}, which was not asked: {cure}")
                address = there
                continue
            body = bytearray()
            for chunk in response.iter_content(1 << 16):
                body += chunk
                if len(body) > LARGEST:
                    break
            age = response.headers.get("Age", "")
            return response.status_code, bytes(body), age if age.isdigit() else ""
    raise requests.TooManyRedirects(f"more than {HOPS} redirects")


def _host(address: str) -> tuple[str | None, int | None]:
    """Name and port. From http to https on their usual ports, it is the same host. Raises ValueError."""
    parts = urlsplit(address)
    return parts.hostname, None if parts.port in (None, 80, 443) else parts.port
