"""One small file that is replaced between publishes, on a real OpenSSH server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deepspeech_wer.configuration import settings
from deepspeech_wer.configuration.settings import Website
from deepspeech_wer.errors import Trouble
from deepspeech_wer.heartbeat import Heartbeat
from deepspeech_wer.places import BEAT
from deepspeech_wer.publish import publisher
from deepspeech_wer.publish.report import Options
from deepspeech_wer.publish.web_root_lock import LOCK, this_process
from tests.end_to_end.publishing import files_of, leftovers, load_page, published, put, version, write
from tests.end_to_end.sshd import Sshd
from tests.end_to_end.test_publish_sshd import module_sshd as module_sshd  # the fixtures
from tests.end_to_end.test_publish_sshd import server as server

SHORT = Options(lock_wait_s=0.2)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    directory = tmp_path / "site"
    version(directory, 1)
    write(directory, {BEAT: "published"})
    return directory


def refresh(server: Sshd, text: str, options: Options = SHORT) -> bool:
    return publisher.refresh(BEAT, text.encode(), server.website, options)


def test_the_file_is_replaced_and_nothing_else_touched(site: Path, server: Sshd) -> None:
    put(site, server.website)
    before = published(server.root)
    assert refresh(server, "later")
    assert published(server.root) == {**before, BEAT: b"later"}
    assert leftovers(server.root) == []
    assert (server.root / BEAT).stat().st_mode & 0o777 == 0o644


def test_where_it_was_not_published_nothing_is_made(site: Path, server: Sshd) -> None:
    (site / BEAT).unlink()
    put(site, server.website)
    assert not refresh(server, "later")
    assert not (server.root / BEAT).exists()


def test_the_next_publish_sends_it_like_any_other(site: Path, server: Sshd) -> None:
    put(site, server.website)
    refresh(server, "later")
    write(site, {BEAT: "newest"})
    report = put(site, server.website)
    assert report.sent == (BEAT,)
    assert (server.root / BEAT).read_bytes() == b"newest"
    assert put(site, server.website).sent == ()
    refresh(server, "later")
    version(site, 2)
    put(site, server.website)
    assert published(server.root).keys() >= set(files_of(site))
    assert load_page(server.root) == "version 2 "


def test_a_rollback_works_after_it(site: Path, server: Sshd) -> None:
    put(site, server.website)
    refresh(server, "first")
    version(site, 2)
    write(site, {BEAT: "the second"})
    put(site, server.website)
    refresh(server, "third")
    publisher.rollback(server.website)
    assert load_page(server.root) == "version 1 "
    assert refresh(server, "fourth")
    publisher.rollback(server.website)
    assert load_page(server.root) == "version 2 "
    put(site, server.website)
    assert (server.root / BEAT).read_bytes() == b"the second"


def test_it_waits_for_a_publisher_and_gives_up(site: Path, server: Sshd) -> None:
    put(site, server.website)
    holder = {**this_process(), "machine": "another"}
    (server.root / LOCK).write_text(json.dumps(holder))
    with pytest.raises(Trouble, match="is publishing there"):
        refresh(server, "later")
    assert (server.root / BEAT).read_bytes() == b"published"
    (server.root / LOCK).unlink()
    assert refresh(server, "later")


def test_a_refresh_that_was_killed_leaves_nothing_for_long(site: Path, server: Sshd) -> None:
    put(site, server.website)
    (server.root / f"{BEAT}.0123456789abcdef.0123456789ab.partial").write_text("half")
    version(site, 2)
    put(site, server.website)
    assert leftovers(server.root) == []


def beating(site: Path, website: Website) -> Heartbeat:
    """The heartbeat of a tracker that has built and published this site."""
    loaded = settings.load()
    loaded.places.cache.mkdir(parents=True, exist_ok=True)
    loaded.places.site.parent.mkdir(parents=True, exist_ok=True)
    site.rename(loaded.places.site)
    return Heartbeat(loaded._replace(website=website))


def test_a_heartbeat_reaches_the_web_root(site: Path, server: Sshd) -> None:
    put(site, server.website)
    beating(site, server.website).idle()
    assert b'"looked_at"' in (server.root / BEAT).read_bytes()


def test_a_web_host_that_is_away_is_told_in_one_line(
    site: Path, server: Sshd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    beating(site, replace(server.website, server_port=9)).idle()
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "the page was not told what goes on: " in caplog.text
