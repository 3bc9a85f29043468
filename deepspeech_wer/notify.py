"""How a run went, told to others: a status on its commit at GitHub, a message to a webhook. Each told once.

`told.json` in the cache lists what was told. It is written after each: a crash between the two tells once more. What
could not be told is tried again at the next tick, the newest NEWEST runs at most, so that a long outage ends quietly.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from deepspeech_wer import files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import Run
from deepspeech_wer.settings import Settings

if TYPE_CHECKING:
    import requests

NEWEST = 20
TIMEOUT_S = 10.0
VERSION = 1
CONTEXT = "deepspeech_wer"  # under which GitHub shows the status
MOST = 140  # characters of a status, GitHub's limit

_TOLD = "told.json"

log = logging.getLogger(__name__)


class _Failed(Exception):
    """Not told; the message says why, without any secret: neither a token nor a webhook's address."""


@dataclass(frozen=True)
class _Channel:
    """One way of telling. `send` gets a run and the status of the run told before, and raises _Failed."""

    name: str
    send: Callable[[Run, str | None], None]


@dataclass(frozen=True)
class _Told:
    """What a channel was told."""

    names: tuple[str, ...]  # of the newest runs
    last: str | None  # the status of the last run told


def tell(settings: Settings, names: Sequence[str], read: Callable[[str], Run], *, api: str | None = None) -> None:
    """Tell what has not been told of the archived runs, `names`, oldest first. Never raises: a warning at most.

    `read` gives a run by its name, or raises Trouble. `api` stands in for the address of GitHub's.
    """
    for channel in _channels(settings, api):
        try:
            _tell(channel, settings.cache, names[-NEWEST:], read)
        except _Failed as failure:
            log.warning("%s: %s; the next tick tries again", channel.name, failure)
        except OSError as error:
            log.warning("%s: cannot note what was told in %s: %s", channel.name, settings.cache, error.strerror)


def statuses_address(page: str | None, api: str | None = None) -> str | None:
    """Where GitHub takes statuses of a repository's commits, from its page; None where it is not at GitHub."""
    parts = urlsplit(page or "")
    if not (parts.hostname or "").startswith("github."):
        return None
    base = api or ("https://api.github.com" if parts.hostname == "github.com" else f"https://{parts.hostname}/api/v3")
    return f"{base}/repos{parts.path}/statuses"


def _channels(settings: Settings, api: str | None) -> Iterator[_Channel]:
    statuses, token, webhook = statuses_address(settings.repo_page, api), settings.github_token, settings.webhook_url
    if token and statuses:
        yield _Channel("commit status", lambda run, _: _set_status(statuses, token, run, settings.website_url))
    if webhook:
        yield _Channel("webhook", lambda run, last: _alarm(webhook, run, last, settings))


def _tell(channel: _Channel, cache: Path, names: Sequence[str], read: Callable[[str], Run]) -> None:
    known = _read_told(cache).get(channel.name)
    if known is None:  # a channel that is new is told of the newest run alone, not of years of history
        known = _Told(tuple(names[:-1]), None)
        _note(cache, channel.name, known)
    untold = [name for name in names if name not in known.names]
    for run in sorted(_readable(read, untold), key=lambda run: (run.started_at, run.merge.ordinal)):
        channel.send(run, known.last)
        told = tuple(name for name in names if name in known.names or name == run.id)
        known = _Told(told, run.status)
        _note(cache, channel.name, known)


def _set_status(statuses: str, token: str, run: Run, website_url: str | None) -> None:
    status = {
        "state": "success" if run.status == "done" else "failure",
        "context": CONTEXT,
        "description": _shortened(_result(run)),
        **({"target_url": _page(website_url, run)} if website_url else {}),
    }
    code = _post(f"{statuses}/{run.merge.sha}", status, token)
    if code == 422:  # told as well as can be: the same again would be refused again
        log.warning("commit status: GitHub refuses one for %s: is the commit there?", run.merge.sha[:12])
    elif code in (401, 403, 404):
        raise _Failed(f"GitHub answers {code}: ds_github_token lacks the right to set statuses in this repository")
    elif code >= 300:
        moved = ": was it renamed? Correct ds_repo_url" if code < 400 else ""
        raise _Failed(f"GitHub answers {code} for {run.merge.sha[:12]}{moved}")


def _alarm(webhook: str, run: Run, last: str | None, settings: Settings) -> None:
    """A run that failed, or the first that did not after one that did; of no other."""
    recovered = run.status == "done" and last == "failed"
    if run.status == "done" and not recovered:
        return
    title = f'{run.merge.sha[:12]} "{run.merge.subject}" by {run.merge.author}'
    what = f"recovered: {_result(run)}" if recovered else _result(run)
    page = f" {_page(settings.website_url, run)}" if settings.website_url else ""
    message = {
        "text": _harmless(f"{settings.repo_name}: {what}: {title}") + page,
        "run": run.id,
        "sha": run.merge.sha,
        "status": run.status,
        "failure": run.failure,
        "test_wer": _test_wer(run),
    }
    code = _post(webhook, message)
    if code >= 300:
        raise _Failed(f"it answers {code}: is ds_webhook_url right?")


def _post(address: str, message: Mapping[str, Any], token: str | None = None) -> int:
    """POST JSON; the answer's status. Raises _Failed where there is none."""
    import requests  # 60 ms, and only once there is something to tell

    def bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    try:
        with requests.post(
            address,
            json=message,
            auth=bearer if token else None,  # a header of ours would be replaced by what ~/.netrc says
            headers={"User-Agent": "deepspeech-wer", "Accept": "application/json"},
            timeout=TIMEOUT_S,
            allow_redirects=False,  # a POST that is redirected becomes a GET, which does nothing
            stream=True,
        ) as answer:
            return answer.status_code
    except requests.Timeout:
        raise _Failed(f"no answer within {TIMEOUT_S:g} s") from None
    except (requests.RequestException, OSError, ValueError) as error:
        raise _Failed(f"no answer ({reason(error)})") from None


def reason(error: BaseException) -> str:
    """The innermost error's kind: its text may hold the address, which is a secret."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or type(error).__name__


def _result(run: Run) -> str:
    if run.hyper is None:
        return f"failed: {run.failure}: {run.detail}"
    wer = _test_wer(run)
    return "test WER not measured" if wer is None else f"test WER {100 * wer:.2f} %"


def _test_wer(run: Run) -> float | None:
    wer: float | None = run.hyper["results"]["test_wer"] if run.hyper else None
    return wer


def _page(website_url: str | None, run: Run) -> str:
    base = (website_url or "").partition("#")[0]
    return f"{base}{'' if base.endswith(('/', '.htm', '.html')) else '/'}#/run/{quote(run.id, safe='')}"


def _shortened(text: str) -> str:
    line = re.sub(r"[^\x20-\ud7ff\ue000-\uffff]", "?", " ".join(text.split()))  # GitHub takes no others
    return line if len(line) <= MOST else f"{line[: MOST - 1]}…"


def _harmless(text: str) -> str:
    """Without what chat servers read as markup: a job's last words could call everybody (`<!channel>`, `@all`)."""
    plain = text.translate({ord("<"): "‹", ord(">"): "›", ord("&"): "+"})
    return re.sub(r"@(?=\w)", "@\N{WORD JOINER}", " ".join(plain.split()))


def _readable(read: Callable[[str], Run], names: Sequence[str]) -> Iterator[Run]:
    for name in names:
        with suppress(Trouble):  # the page's build names it
            yield read(name)


def _read_told(cache: Path) -> dict[str, _Told]:
    """Channel -> what it was told. Unreadable is like new: the newest run alone will be told."""
    try:
        record = json.loads((cache / _TOLD).read_bytes())
        if record["version"] != VERSION:
            return {}
        return {name: _Told(tuple(told["names"]), told["last"]) for name, told in record["channels"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _note(cache: Path, channel: str, told: _Told) -> None:
    channels = {name: asdict(known) for name, known in {**_read_told(cache), channel: told}.items()}
    record = {"version": VERSION, "channels": channels}
    files.write_atomically(cache / _TOLD, json.dumps(record).encode(), mode=0o600)
