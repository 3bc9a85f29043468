"""JSON messages to a webhook: for each failed run, and for the first good one after it."""

from __future__ import annotations

from deepspeech_wer import hyper
from deepspeech_wer.notify import http, message
from deepspeech_wer.notify.ledger import Channel, NotSent
from deepspeech_wer.records import Run


def channel(address: str, repository_name: str, website_url: str | None) -> Channel:
    """Return a channel that posts to the address."""
    return Channel("webhook", lambda run, last: _alarm(address, run, last, repository_name, website_url))


def _alarm(address: str, run: Run, last: str | None, repository_name: str, website_url: str | None) -> None:
    """Send a failed run, or the first good one after it. Other runs are not sent."""
    recovered = run.status == "done" and last == "failed"
    if run.status == "done" and not recovered:
        return
    what = f"recovered: {message.result(run)}" if recovered else message.result(run)
    title = f'{run.merge.sha[:12]} "{run.merge.subject}" by {run.merge.author}'
    link = f" {message.page(website_url, run)}" if website_url else ""
    code = http.post(
        address,
        {
            "text": message.harmless(f"{repository_name}: {what}: {title}") + link,
            "run": run.id,
            "sha": run.merge.sha,
            "status": run.status,
            "failure": run.failure,
            "test_wer": hyper.test_wer(run.hyper),
        },
    )
    if code >= 300:
        raise NotSent(f"it answered {code}: check ds_webhook_url")
