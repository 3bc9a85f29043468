"""Sends JSON messages with POST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepspeech_wer.errors import root_cause
from deepspeech_wer.notify.ledger import NotSent

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 10.0


def post(address: str, message: Mapping[str, Any], *, token: str | None = None) -> int:
    """POST JSON, with a bearer token if given, and return the HTTP status. Raises NotSent if there is no answer."""
    import requests  # takes 60 ms, and most ticks send nothing

    def bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    try:
        with requests.post(
            address,
            json=message,
            auth=bearer if token else None,  # a plain header would be overridden by ~/.netrc
            headers={"User-Agent": "deepspeech-wer", "Accept": "application/json"},
            timeout=TIMEOUT_S,
            allow_redirects=False,  # requests turns a redirected POST into a GET
            stream=True,
        ) as answer:
            return answer.status_code
    except requests.Timeout:
        raise NotSent(f"no answer within {TIMEOUT_S:g} s") from None
    except (requests.RequestException, OSError, ValueError) as error:
        raise NotSent(f"no answer ({reason(error)})") from None


def reason(error: BaseException) -> str:
    """Describe the root cause by its kind only: its text may hold the address, which is a secret."""
    inner = root_cause(error)
    return getattr(inner, "strerror", None) or type(inner).__name__
