"""Of a large file that changed, a real OpenSSH server copies what it has; the rest is sent."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import delta
from deepspeech_wer.delta import Span
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan, sources
from deepspeech_wer.publish.plan import Entry
from deepspeech_wer.publish.report import Report
from deepspeech_wer.sftp import files
from deepspeech_wer.sftp.pipeline import Pipeline
from tests.end_to_end.proxy import bad_network
from tests.end_to_end.publishing import files_of, published, put, write, write_page
from tests.end_to_end.sshd import Sshd, running_sshd

LINES = [f'{{"number": {number}, "text": "{random.Random(number).getrandbits(4000)}"}}\n' for number in range(1000)]


@pytest.fixture(scope="module")
def module_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


class Place:
    """A site, its server, and what is kept of the last publish."""

    def __init__(self, home: Path, sshd: Sshd) -> None:
        self.site, self.kept, self.root = home / "site", home / "kept", home / "root"
        self.root.mkdir()
        self.server = sshd
        self.website = replace(sshd.website, server_root=str(self.root))
        write_page(self.site, "v1")
        self.lines(LINES)
        self.publish()

    def lines(self, lines: list[str]) -> None:
        beside = self.site / "js" / "beside"
        beside.write_text("[" + ",".join(lines) + "];\n")
        beside.replace(self.site / "js" / "hyper.js")  # as the build does: what is kept may be a link

    def publish(self) -> Report:
        report = put(self.site, self.website, kept=self.kept)
        assert {path: (self.site / path).read_bytes() for path in files_of(self.site)}.items() <= published(
            self.root
        ).items()
        return report


@pytest.fixture
def place(module_sshd: Sshd, tmp_path: Path) -> Place:
    return Place(tmp_path, module_sshd)


NEW = '{"number": "new"}\n'


@pytest.mark.parametrize(
    ("what", "lines", "most"),
    [
        ("one more", [*LINES, NEW], 100),
        ("three more", [*LINES, NEW, NEW, NEW], 200),
        ("one in the middle", [*LINES[:500], NEW, *LINES[500:]], 100),
        ("the first", [NEW, *LINES], 100),
        ("one less", [*LINES[:300], *LINES[301:]], 0),
        ("one other", [*LINES[:300], LINES[300][::-1], *LINES[301:]], 1300),
        ("most less", LINES[:1], 1300),
        ("nothing the same", [line[::-1] for line in LINES], 2_000_000),
    ],
)
def test_what_stays_is_not_sent(place: Place, what: str, lines: list[str], most: int) -> None:
    assert what
    place.lines(lines)
    report = place.publish()
    assert report.sent == ("js/hyper.js",)
    assert report.size <= most
    place.lines([*lines, NEW])  # and again, from what that one left
    assert place.publish().size <= (most if what == "most less" else 100)


@pytest.mark.parametrize("change", ["damaged", "deleted", "cut", "a directory"])
def test_what_is_kept_is_not_trusted(place: Place, change: str) -> None:
    [kept] = [path for path in place.kept.iterdir() if path.stat().st_size > 1_000_000]
    content = kept.read_bytes()
    kept.unlink()  # else the site's file changes with it
    match change:
        case "damaged":
            kept.write_bytes(content.replace(b'"number": 7', b'"number": 8'))
        case "cut":
            kept.write_bytes(content[:-1])
        case "a directory":
            kept.mkdir()
    place.lines([*LINES, NEW])
    assert place.publish().size > 1_000_000


def test_what_was_changed_on_the_server_is_sent_whole(place: Place) -> None:
    (place.root / "js/hyper.js").write_text("".join(LINES[::-1]))
    place.lines([*LINES, NEW])
    assert place.publish().size > 1_000_000


def test_a_server_that_cannot_copy_gets_all(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Pipeline.__init__

    def without(pipeline: Pipeline, *arguments: Any) -> None:
        real(pipeline, *arguments)
        pipeline.extensions.pop("copy-data", None)

    monkeypatch.setattr(Pipeline, "__init__", without)
    place.lines([*LINES, NEW])
    assert place.publish().size > 1_000_000


def test_a_refused_copy_is_made_up_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = files.Packet

    def refused(kind: int, body: bytes) -> files.Packet:
        return real(kind, body.replace(b"copy-data", b"copy-what"))

    monkeypatch.setattr(files, "Packet", refused)
    place.lines([*LINES, NEW])
    place.publish()


def test_now_and_then_the_file_is_sent_whole(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's file may have been changed with its size and time as they were."""
    monkeypatch.setattr(sources, "WHOLE_EVERY", 2)
    sizes = []
    for number in range(4):
        place.lines([*LINES, NEW * (number + 1)])
        sizes.append(place.publish().size > 1_000_000)
    assert sorted(sizes) == [False, False, True, True]


def test_only_what_is_of_use_is_kept(place: Place) -> None:
    write(place.site, {"runs/1/out.log": "x" * sources.LARGE, "js/small.js": "x"})
    place.publish()
    assert [path.read_bytes() for path in place.kept.iterdir()] == [(place.site / "js/hyper.js").read_bytes()]


def test_a_file_whose_name_changes_with_its_content_is_copied_too(place: Place) -> None:
    text = "".join(LINES[:300])
    write_page(place.site, text)
    place.publish()
    write_page(place.site, text[:50_000] + "more" + text[50_000:90_000] + text[90_001:])
    report = place.publish()
    assert [Path(path).suffix for path in report.sent] == [".js", ".htm"]
    assert report.size < 2_000


@pytest.mark.parametrize("before", [False, True])
def test_the_manifest_is_sent_as_far_as_it_is_new(place: Place, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2,000 files; another tracker's, or one from before, that does not begin like ours is sent whole."""
    write(place.site, {f"runs/{number}.js": f"{number}" for number in range(2000)})
    if before:
        monkeypatch.setattr(plan, "dump", lambda manifest: gzip.compress(dump(manifest)))
    place.publish()
    monkeypatch.undo()
    write(place.site, {"runs/more.js": "more"})
    with bad_network(place.website.server_port) as network:
        place.website = place.server.also_at(network.port)
        place.website = replace(place.website, server_root=str(place.root))
        place.publish()
        assert (network.sent < 40_000) is not before
        write(place.site, {"runs/and more.js": "more"})
        sent = network.sent
        place.publish()
        assert network.sent - sent < 40_000


def dump(manifest: plan.Manifest) -> bytes:
    """As releases before wrote it, but uncompressed."""
    return json.dumps({"version": 1, **manifest._asdict()}).encode()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("js/hyper.js", "js/hyper.js"),
        ("js/index.0123abcd.js", "js/index.ffffffff.js"),
        ("js/other.0123abcd.js", None),
        ("js/index.0123abcd.css", None),
        ("js/index.js", None),
        ("js/index.ffffffff.js", "js/index.ffffffff.js"),
    ],
)
def test_the_version_before_is_found(path: str, found: str | None) -> None:
    current = dict.fromkeys(["js/hyper.js", "js/index.more.js", "js/index.ffffffff.js", "js/x.js"], Entry("", 0, 0))
    assert sources.version_before(path, current) == found


def test_a_file_that_changes_while_it_is_published_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    for content in (b"abc", b"abcd", b"ab", b"bbc"):
        parts = delta.read(file, entry(content).sha256, 2, (Span(0, 1), 2))
        if content == b"abc":
            assert list(parts) == [Span(0, 1), b"bc"]
        else:
            with pytest.raises(Trouble, match="changed while it was being published"):
                list(parts)


def entry(content: bytes) -> Entry:
    return Entry(hashlib.sha256(content).hexdigest(), len(content), 0)


def test_spans_and_bytes_make_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    monkeypatch.setattr(delta, "_BLOCK", 4)
    copies = 0
    for _ in range(500):
        old = bytes(chance.choices(b"abcd", k=chance.randrange(1, 40)))
        new = old
        for _ in range(chance.randrange(4)):
            a, b = sorted(chance.choices(range(len(new) + 1), k=2))
            new = new[:a] + bytes(chance.choices(b"abcd", k=chance.randrange(5))) + chance.choice((new[b:], new[a:]))
        before = entry(old)
        (tmp_path / before.sha256).write_bytes(old)
        (tmp_path / "new").write_bytes(new)
        how = sources.Copied("old", sources.compared(tmp_path, before, tmp_path / "new"))
        parts = delta.read(tmp_path / "new", entry(new).sha256, chance.randrange(1, 5), how.parts)
        made = b"".join(old[part.start :][: part.size] if isinstance(part, Span) else part for part in parts)
        assert made == new
        assert how.size <= len(new)
        copies += how.size > 3
        (tmp_path / before.sha256).unlink()
    assert copies > 250


def test_a_file_of_columns_is_sent_as_far_as_they_grew(tmp_path: Path) -> None:
    columns = [random.Random(number).randbytes(400_000) for number in range(25)]  # 10 MB: the index of 70,000 runs
    old, new = b"".join(columns), b"".join(column + b", 12345678" for column in columns)
    before = entry(old)
    (tmp_path / before.sha256).write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    parts = sources.compared(tmp_path, before, tmp_path / "new")
    assert sum(part for part in parts if isinstance(part, int)) <= 25 * 10
