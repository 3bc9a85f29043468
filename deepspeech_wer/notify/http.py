"""Sends JSON messages with POST."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from deepspeech_wer.errors import root_cause
from deepspeech_wer.notify.ledger import NotSent

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 10.0  # without a byte
DEADLINE_S = 30.0  # in all: a server may send a byte now and then
MAX_ANSWER_BYTES = 4096


class Answer(NamedTuple):
    """What a server said."""

    code: int
    text: str = ""  # the start of it, of a refusal only
    retry_after_s: float = 0.0  # as it asks; 0 if it does not


def post(address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """POST JSON and return the answer. Raises NotSent if there is none in time."""
    found: list[Answer | NotSent] = []
    sender = threading.Thread(target=lambda: found.append(_post(address, body, headers)), daemon=True)
    sender.start()
    sender.join(DEADLINE_S)
    answer = found[0] if found else NotSent(f"no answer within {DEADLINE_S:g} s")
    if isinstance(answer, NotSent):
        raise answer
    return answer


def _post(address: str, body: bytes, headers: Mapping[str, str]) -> Answer | NotSent:
    import requests  # takes 60 ms, and most ticks send nothing

    def prepared(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(headers)
        return request

    try:
        with requests.post(
            address,
            data=body,
            auth=prepared,  # plain headers would be overridden by ~/.netrc
            headers={
                "User-Agent": "deepspeech-wer",
                "Accept": "application/json",
                "Content-Type": "application/json; charset=utf-8",
            },
            timeout=TIMEOUT_S,
            allow_redirects=False,  # requests turns a redirected POST into a GET
            stream=True,
        ) as answer:
            text = ""
            if answer.status_code >= 400:
                with suppress(requests.RequestException, OSError, ValueError):  # the code is enough
                    text = next(answer.iter_content(MAX_ANSWER_BYTES), b"").decode("utf-8", "replace")
            return Answer(answer.status_code, text, _seconds(answer.headers.get("Retry-After")))
    except requests.Timeout:
        return NotSent(f"no answer within {TIMEOUT_S:g} s")
    except (requests.RequestException, OSError, ValueError) as error:
        return NotSent(f"no answer ({reason(error)})")


def reason(error: BaseException) -> str:
    """Describe the root cause by its kind only: its text may hold the address, which is a secret."""
    inner = root_cause(error)
    return getattr(inner, "strerror", None) or type(inner).__name__


def _seconds(retry_after: str | None) -> float:
    """Return what a Retry-After header asks for: seconds, or a date (RFC 9110)."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime  # takes 5 ms, and hardly any server says so

    try:
        until = parsedate_to_datetime(text)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
