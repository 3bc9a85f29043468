"""POST of a JSON message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepspeech_wer.errors import root_cause
from deepspeech_wer.notify.ledger import NotTold

if TYPE_CHECKING:
    import requests

TIMEOUT_S = 10.0


def post(address: str, message: Mapping[str, Any], *, token: str | None = None) -> int:
    """POST JSON, with a bearer token if there is one; the answer's status. Raises NotTold where there is no answer."""
    import requests  # 60 ms, and only once there is something to tell

    def bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    try:
        with requests.post(
            address,
            json=message,
            auth=bearer if token else None,  # requests replaces a plain header by what ~/.netrc says
            headers={"User-Agent": "deepspeech-wer", "Accept": "application/json"},
            timeout=TIMEOUT_S,
            allow_redirects=False,  # a POST that is redirected becomes a GET, which does nothing
            stream=True,
        ) as answer:
            return answer.status_code
    except requests.Timeout:
        raise NotTold(f"no answer within {TIMEOUT_S:g} s") from None
    except (requests.RequestException, OSError, ValueError) as error:
        raise NotTold(f"no answer ({reason(error)})") from None


def reason(error: BaseException) -> str:
    """The kind of the innermost error: its text may hold the address, which is a secret."""
    inner = root_cause(error)
    return getattr(inner, "strerror", None) or type(inner).__name__
