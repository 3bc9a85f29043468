"""What a publish would change on the server."""

from __future__ import annotations

import gzip
import json
import math

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan
from deepspeech_wer.publish.plan import INDEX, Entry, Manifest
from deepspeech_wer.records import Owner
from deepspeech_wer.sftp.files import Attributes

A, B = "a" * 64, "b" * 64
SECOND = 1_000_000_000


def test_everything_is_new_on_an_empty_server() -> None:
    todo = plan.make({"js/a.js": Entry(A, 1, 0), INDEX: Entry(B, 2, 0)}, None, None, {})
    assert list(todo.send.items()) == [("js/a.js", "new"), (INDEX, "new")]
    assert todo.manifest is not None
    assert todo.manifest.generation == 1
    assert not todo.remove
    assert not todo.foreign


def test_nothing_to_do() -> None:
    wanted = {"a": Entry(A, 1, 5 * SECOND)}
    todo = plan.make(wanted, Manifest(1, wanted), None, {"a": Attributes(1, 5)})
    assert todo == plan.Plan()


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({}, "missing on the server"),
        ({"a": Attributes(2, 5)}, "differs on the server"),
        ({"a": Attributes(1, 6)}, "differs on the server"),
    ],
)
def test_damage_on_the_server_is_mended(seen: dict[str, Attributes], why: str) -> None:
    wanted = {"a": Entry(A, 1, 5 * SECOND)}
    manifest = Manifest(3, wanted)
    todo = plan.make(wanted, manifest, None, seen)
    assert todo.send == {"a": why}
    assert todo.manifest == manifest  # the site is the same: no new generation


def test_a_touched_local_file_is_not_sent_again() -> None:
    stored = Entry(A, 1, 5 * SECOND)
    todo = plan.make({"a": Entry(A, 1, 9 * SECOND)}, Manifest(1, {"a": stored}), None, {"a": Attributes(1, 5)})
    assert todo.manifest is None


def test_a_server_without_times_is_judged_by_sizes() -> None:
    wanted = {"a": Entry(A, 1, 5 * SECOND)}
    assert plan.make(wanted, Manifest(1, wanted, times=False), None, {"a": Attributes(1, 99)}).manifest is None


def test_what_vanishes_is_kept_for_minutes_then_removed() -> None:
    versions = [{f"{number}": Entry(A, 1, 0)} for number in range(5)]
    seen = {path: Attributes(1, 0) for files in versions for path in files}
    todo = plan.make(versions[1], Manifest(1, versions[0]), None, seen, 1000.5)
    assert todo.manifest == Manifest(2, versions[1], versions[0], {"0": versions[0]["0"], "1": None}, left={"0": 1000})
    assert plan.version_before(todo.manifest) == versions[0]
    assert not todo.remove
    todo = plan.make(versions[2], todo.manifest, None, seen, 1001)  # soon after: both stay
    assert todo.manifest is not None
    assert todo.manifest.left == {"0": 1000, "1": 1001}
    assert not todo.remove
    todo = plan.make(versions[3], todo.manifest, None, seen, 1000 + plan.KEPT_S)
    assert todo.manifest is not None
    assert todo.manifest.left == {"1": 1001, "2": 1000 + plan.KEPT_S}
    assert list(todo.remove) == ["0"]
    todo = plan.make(versions[4], todo.manifest, None, seen, 1e6)
    assert list(todo.remove) == ["1", "2"]
    assert todo.manifest is not None
    assert todo.manifest.kept == versions[3]  # of the version before, whatever its age


def test_what_left_under_a_clock_that_was_wrong_is_not_kept_for_ever() -> None:
    one, two, three = ({name: Entry(A, 1, 0)} for name in ("one", "two", "three"))
    seen = {name: Attributes(1, 0) for name in ("one", "two", "three")}
    todo = plan.make(three, Manifest(2, two, one, left={"one": 2_000_000_000}), None, seen, 1_000_000_000)
    assert list(todo.remove) == ["one"]


def test_what_comes_back_leaves_anew() -> None:
    one, two = ({name: Entry(A, 1, 0)} for name in ("one", "two"))
    seen = {name: Attributes(1, 0) for name in ("one", "two")}
    back = plan.make(one, Manifest(2, two, one, left={"one": 1000}), None, seen, 1500).manifest
    assert back is not None
    assert back.left == {"two": 1500}
    again = plan.make(two, back, None, seen, 3000).manifest
    assert again is not None
    assert again.left == {"one": 3000}


def test_a_manifest_of_an_older_program_tells_no_times() -> None:
    record = {"version": 1, "generation": 1, "files": {}, "kept": {"x": [A, 1, 0]}, "previous": {}, "times": True}
    manifest = plan.parse(gzip.compress(json.dumps(record).encode()))
    assert manifest == Manifest(1, {}, {"x": Entry(A, 1, 0)})
    todo = plan.make({"a": Entry(A, 1, 0)}, manifest, None, {"x": Attributes(1, 0)}, 1e9)
    assert list(todo.remove) == ["x"]


def test_a_killed_publish_is_finished() -> None:
    current, aimed = (
        Manifest(1, {"a": Entry(A, 1, 0)}),
        Manifest(2, {"a": Entry(B, 1, SECOND), "b": Entry(B, 1, 0)}),
    )
    todo = plan.make(aimed.files, current, aimed, {"a": Attributes(1, 1)})  # a was renamed, b was not
    assert list(todo.send) == ["b"]
    todo = plan.make(
        aimed.files, current, aimed, {"a": Attributes(1, 1), "b": Attributes(1, 0)}
    )  # only the manifest was not
    assert not todo.send
    assert todo.manifest is not None


def test_two_records_that_fit_alike_are_not_trusted() -> None:
    current, aimed = Manifest(1, {"a": Entry(A, 1, 0)}), Manifest(2, {"a": Entry(B, 1, 0)})
    assert plan.make(aimed.files, current, aimed, {"a": Attributes(1, 0)}).send == {"a": "changed"}


def test_files_that_are_not_ours_are_named() -> None:
    todo = plan.make(
        {"a": Entry(A, 1, 0), "b": Entry(A, 1, 0)}, None, None, {"a": Attributes(1, 0), "other": Attributes(1, 0)}
    )
    assert todo.foreign == ["a"]
    assert "other" not in set(todo.remove)


def test_the_manifest_survives_the_way_to_the_server_and_back() -> None:
    manifest = Manifest(
        7,
        {"runs/ä b.js": Entry(A, 3, 1_700_000_000_123_456_789)},
        {"x": Entry(B, 0, 0)},
        {"a": None, "b": Entry(B, 1, 2)},
        times=False,
        left={"x": 1_700_000_000},
    )
    assert plan.parse(plan.dump(manifest)) == manifest
    assert plan.dump(manifest) == plan.dump(manifest)


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest(1, {"../../etc/x": Entry(A, 1, 0)}),
        Manifest(1, {"a": Entry("<hash>", 1, 0)}),
        Manifest(1, {"/etc": Entry(A, 1, 0)}),
        Manifest(math.inf),  # type: ignore[arg-type]
        Manifest(1, kept={"a": Entry(A, math.nan, 0)}),  # type: ignore[arg-type]
        *(Manifest(1, {path: Entry(A, 1, 0)}) for path in ("", ".", "..", "a/..", "./a", "a//b", "a/", "a/./b")),
    ],
)
def test_a_hostile_manifest_is_refused(manifest: Manifest) -> None:
    with pytest.raises(ValueError, match="lacks or misuses"):
        plan.parse(plan.dump(manifest))


@pytest.mark.parametrize(("seconds", "kept"), [(-1, 0), (1 << 32, (1 << 32) - 1), (1_480_000_000, 1_480_000_000)])
def test_times_that_the_protocol_does_not_know_are_the_nearest_it_does(seconds: int, kept: int) -> None:
    assert Entry(A, 1, seconds * 1_000_000_000).mtime == kept


@pytest.mark.parametrize("data", [b"", b"not gzip", plan.dump(Manifest())[:-12], gzip.compress(b"[" * 100_000)])
def test_a_broken_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="JSON"):
        plan.parse(data)


@pytest.mark.parametrize("path", ["", "/etc/passwd", "a/../b", "./a", "a//b", "a/", ".deepspeech_wer/x", "a\0"])
def test_paths_that_leave_the_web_root_are_refused(path: str) -> None:
    with pytest.raises(Trouble, match="cannot publish"):
        plan.check_path(path)


RUN, LOG, PAGE = "runs/a.js", "runs/a/err.log", "js/index.1.js"
OPEN = {PAGE: Entry(A, 1, 0), RUN: Entry(A, 1, 0), LOG: Entry(A, 9, 0), "runs/a/out.log": Entry(B, 1, 0)}


@pytest.mark.parametrize("log", [None, Entry(B, 2, 0)], ids=["none", "trimmed"])
@pytest.mark.parametrize("is_resumed", [False, True])
def test_of_withdrawn_logs_nothing_is_kept(log: Entry | None, is_resumed: bool) -> None:
    """Neither for visitors of the page before, which quotes them, nor for a rollback."""
    wanted = {path: entry for path, entry in OPEN.items() if path not in (LOG, PAGE)}
    wanted |= {"js/index.2.js": Entry(B, 1, 0), RUN: Entry(B, 1, 0)} | ({LOG: log} if log else {})
    seen = {path: Attributes(entry.size, 0) for path, entry in OPEN.items()}
    unfinished = Manifest(2, wanted) if is_resumed else None
    todo = plan.make(wanted, Manifest(1, OPEN), unfinished, seen, now=1000)
    assert todo.manifest is not None
    assert not todo.manifest.kept
    assert not todo.manifest.previous
    assert set(todo.remove) == ({PAGE} if log else {PAGE, LOG})


def test_a_run_that_goes_takes_its_logs_along_as_ever() -> None:
    wanted = {PAGE: OPEN[PAGE]}
    seen = {path: Attributes(entry.size, 0) for path, entry in OPEN.items()}
    todo = plan.make(wanted, Manifest(1, OPEN), None, seen, now=1000)
    assert todo.manifest is not None
    assert LOG in todo.manifest.kept
    assert not todo.remove


OURS, THEIRS = Owner("a" * 32, "ours"), Owner("b" * 32, "theirs")


@pytest.mark.parametrize("before", ["", THEIRS.id])
def test_a_web_root_gets_its_owner_though_nothing_is_sent(before: str) -> None:
    files = {"a": Entry(A, 1, 0)}
    current = Manifest(3, files, previous={"a": Entry(B, 1, 0)}, owner=before)
    todo = plan.make(files, current, None, {"a": Attributes(1, 0)}, owner=OURS)
    assert not todo.send
    assert todo.manifest == current._replace(owner=OURS.id, owner_name="ours")  # still to be rolled back
    assert plan.make(files, todo.manifest, None, {"a": Attributes(1, 0)}, owner=OURS).manifest is None
    assert plan.make(files, todo.manifest, None, {"a": Attributes(1, 0)}).manifest is None


def test_a_publisher_without_a_name_leaves_the_owner() -> None:
    todo = plan.make({"a": Entry(B, 1, 0)}, Manifest(3, {"a": Entry(A, 1, 0)}, owner=THEIRS.id), None, {})
    assert todo.manifest is not None
    assert todo.manifest.owner == THEIRS.id


def test_the_owner_survives_the_way_to_the_server_and_back() -> None:
    manifest = Manifest(1, owner=OURS.id, owner_name="ä\n")
    assert plan.parse(plan.dump(manifest)) == manifest
