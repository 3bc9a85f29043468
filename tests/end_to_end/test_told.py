"""A story of merges, as it is told: feed, badge, statuses on a GitLab, webhook, log and exit code tell it once."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import exit_codes
from tests.conftest import Repository
from tests.dashboard.test_feed import parsed, read
from tests.end_to_end.test_verdicts import Story
from tests.notify.receiver import Receiver, serving
from tests.test_automation import TICK

KILLS = 12  # of ticks, in the second test


@pytest.fixture
def gitlab(repository: Repository) -> Iterator[Receiver]:
    """A host with the repository, its API and a webhook."""
    with serving(Receiver(repository=repository.path)) as it:
        yield it


class Told(Story):
    """A story whose ticks may be killed; everything that people hear of it."""

    def __init__(self, repository: Repository, directory: Path, gitlab: Receiver, kills: int = 0) -> None:
        self.kills, self.is_killed = kills, kills > 0
        self.chance, self.gitlab = random.Random(5), gitlab
        super().__init__(
            repository,
            directory,
            ds_repo_url=f"{gitlab.url}/speech/wer.git",
            ds_gitlab_token="t0ken",
            ds_webhook_url=f"{gitlab.url}/hook",
            ds_webhook_secret="four words",
            ds_website_url="https://wer.example.com",
        )

    def tick(self) -> None:
        while self.kills:
            with subprocess.Popen(TICK, env=self.environment, stderr=subprocess.PIPE, text=True) as tick:
                try:
                    _, said = tick.communicate(timeout=self.chance.uniform(0.3, 2.5))
                except subprocess.TimeoutExpired:
                    self.kills -= 1
                    tick.kill()
                    _, said = tick.communicate(timeout=60)
            self.log += said
            self.codes.append(tick.returncode)
            if tick.returncode >= 0:
                return
        super().tick()

    @property
    def site(self) -> Path:
        return Path(self.environment["ds_dataroot"], "deepspeech_wer", "site")

    def feed(self) -> list[str]:
        entries = read((self.site / "feed.xml").read_bytes())
        commits = [re.findall(r"\d{8}-\d{6}-([0-9a-f]{12})", entry["link"])[0] for entry in entries]
        return [f"{entry['state']} {commit}" for entry, commit in zip(entries, commits, strict=True)]

    def badge(self) -> str:
        return parsed((self.site / "badge.svg").read_bytes()).attrib["aria-label"]

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages of the webhook; one that was sent twice is told by its id, as receivers do."""
        posted = {one.headers["webhook-id"]: one.message for one in self.gitlab.got if one.path == "/hook"}
        return list(posted.values())

    def statuses(self, sha: str) -> list[str]:
        """Return the states of a commit's status; one that was set twice in a row counts once."""
        states = [one.message["state"] for one in self.gitlab.got if one.path.endswith(f"/statuses/{sha}")]
        return [state for number, state in enumerate(states) if number == 0 or states[number - 1] != state]


def tell(story: Told) -> None:
    """Eight quiet merges, three of them inert, a bad one and its fix."""
    quiet = [story.document("a document")]
    for number in range(5):
        quiet.append(story.merge(f"quiet {number}"))
        if number % 2:
            quiet.append(story.document(f"document {number}"))
    assert len(quiet) == 8
    assert story.messages() == []
    assert story.feed() == []
    assert story.badge().endswith(("unchanged", "no change seen"))
    assert exit_codes.FAILED not in story.codes

    bad = story.merge("more dropout", level=0.19, dropout_rate=0.3)
    (worse,) = story.messages()
    assert (worse["state"], worse["verdict"], worse["sha"], worse["culprits"]) == ("open", "worse", bad, [bad])
    assert worse["text"].startswith("speech/wer: worse: +")
    assert ", dropout_rate 0.05 -> 0.3: " in worse["text"]
    assert story.feed() == [f"worse {bad[:12]}"]
    assert story.badge().endswith(" · worse")
    (line,) = {line.partition("Z ")[2] for line in story.log.splitlines() if " regression: " in line}
    assert line.startswith(f'WARNING regression: {bad[:12]} "more dropout" by Ada: worse: +')
    assert line.endswith(", dropout_rate 0.05 -> 0.3")

    fix = story.merge(f"Revert more dropout\n\nThis reverts commit {bad}.", level=0.16, dropout_rate=0.05)
    story.tick()
    story.tick()
    worse, recovered = story.messages()
    assert (recovered["state"], recovered["verdict"], recovered["sha"]) == ("recovered", "recovered", fix)
    assert sorted(story.feed()) == [f"recovered {fix[:12]}", f"worse {bad[:12]}"]
    assert story.badge().endswith(" · recovered")
    # A tick that is killed once it has noted that the regression is told has no exit code.
    assert story.codes.count(exit_codes.FAILED) in ((0, 1) if story.is_killed else (1,))
    assert story.statuses(bad) == ["pending", "running", "failed"]
    for sha in quiet:
        assert story.statuses(sha)[0] == "pending"
        assert story.statuses(sha)[-1] == "success"
    assert story.statuses(fix) == ["pending", "success"]


def test_the_story_is_told_once(repository: Repository, tmp_path: Path, gitlab: Receiver) -> None:
    story = Told(repository, tmp_path, gitlab)
    tell(story)
    posted = [one for one in gitlab.got if one.path == "/hook"]
    assert len(posted) == 2
    assert len({(one.path, one.body) for one in gitlab.got}) == len(gitlab.got)
    assert "t0ken" not in story.log


def test_the_same_story_is_told_where_ticks_are_killed(
    repository: Repository, tmp_path: Path, gitlab: Receiver
) -> None:
    story = Told(repository, tmp_path, gitlab, kills=KILLS)
    tell(story)
    assert story.kills < KILLS


def test_a_person_accepts_the_new_level(repository: Repository, tmp_path: Path, gitlab: Receiver) -> None:
    story = Told(repository, tmp_path, gitlab)
    for number in range(4):
        story.merge(f"quiet {number}")
    bad = story.merge("a smaller network", level=0.19)
    done = story.call("accept", bad[:12], "--why", "half the size; token=s3cret\x9b")
    assert done.returncode == 0, done.stderr
    story.tick()
    story.tick()
    assert [(one["state"], one["verdict"]) for one in story.messages()] == [("open", "worse"), ("accepted", "worse")]
    assert " is the new level, says " in story.messages()[1]["text"]
    assert "half the size; token=********" in story.messages()[1]["text"]
    assert sorted(story.feed()) == [f"accepted {bad[:12]}", f"worse {bad[:12]}"]  # both may be of one second
    assert story.statuses(bad)[-2:] == ["failed", "success"]
    assert story.codes.count(exit_codes.FAILED) == 1
    told = (story.site / "feed.xml").read_text("utf-8") + "".join(str(one) for one in gitlab.messages)
    told += "".join(path.read_text("utf-8") for path in (story.site / "js").glob("index.*.js"))
    assert "half the size" in told
    assert "s3cret" not in told.replace("four words", "")
