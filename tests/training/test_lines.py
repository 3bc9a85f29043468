"""Lines of tables: what is no UTF-8, and other line ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import importers
from deepspeech_wer.training.corpus import Corpus
from deepspeech_wer.training.importers.tools.lines import numbered_lines
from deepspeech_wer.training.parameters import from_environment

ROW_END = r"\r(?=ID)"
SUBSETS = "train-clean-5,dev-clean-2,test-clean"


def write(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def librispeech(place: Path, texts: list[bytes]) -> Corpus:
    for subset in SUBSETS.split(","):
        chapter = place / "LibriSpeech" / subset / "1" / "2"
        write(chapter / "1-2.trans.txt", b"".join(b"1-2-%04d %s\n" % row for row in enumerate(texts)))
        for number in range(len(texts) + 1):
            write(chapter / f"1-2-{number:04d}.flac")
    return importers.load(settings("librivox", place, ds_librivox_subsets=SUBSETS))


def ted(place: Path, texts: list[bytes]) -> Corpus:
    for kind in ("train", "dev", "test"):
        rows = (b"talk 1 ada %d %d %s\n" % (number, number + 1, text) for number, text in enumerate(texts))
        write(place / "TEDLIUM_release2" / kind / "stm" / "talk.stm", b"".join(rows))
        write(place / "TEDLIUM_release2" / kind / "sph" / "talk.sph")
    return importers.load(settings("ted", place))


def common_voice(place: Path, texts: list[bytes]) -> Corpus:
    (place / "cv" / "en" / "clips").mkdir(parents=True)
    for kind in ("train", "dev", "test"):
        rows = (b"%0128d\t%d.mp3\t%s\tacc\xe9nt\n" % (1, number, text) for number, text in enumerate(texts))
        write(place / "cv" / "en" / f"{kind}.tsv", b"client_id\tpath\tsentence\taccent\n" + b"".join(rows))
    return importers.load(settings("common_voice", place))


def settings(importer: str, place: Path, **more: str) -> importers.Parameters:
    return from_environment({"ds_importer": importer, "ds_dataset_path": str(place), **more})


@pytest.mark.parametrize("corpus_of", [librispeech, ted, common_voice])
def test_what_is_no_utf_8_is_left_out_named_and_counted(
    corpus_of: Callable[[Path, list[bytes]], Corpus], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = corpus_of(tmp_path, [b"go", b"caf\xe9 au lait", "caf\ufffd".encode(), b"on", b"nu\0ll"])

    assert [one.transcript for one in corpus.train] == ["go", "on"]
    assert corpus.left_out == {"train": 3, "dev": 3, "test": 3}
    told = [line for line in capsys.readouterr().err.splitlines() if "expected UTF-8" in line]
    assert len(told) == 9
    assert "caf\\udce9 au lait" in told[0]


def an4(place: Path, texts: list[bytes]) -> Corpus:
    for kind in ("train", "test"):
        rows = (b"%s (%d)\n" % (text, number) for number, text in enumerate(texts))
        names = (b"ada/%d\n" % number for number in range(len(texts)))
        write(place / "an4" / "etc" / f"an4_{kind}.transcription", b"".join(rows))
        write(place / "an4" / "etc" / f"an4_{kind}.fileids", b"".join(names).replace(b"\n", b"\r", 1))
        for number in range(len(texts)):
            write(place / "an4" / "wav" / "ada" / f"{number}.sph")
    return importers.load(settings("an4", place))


TWO_ROWS = [  # in the second line of each corpus; no recording of AN4 is named 7
    (librispeech, b"on\r1-2-0003 and on", ["go", "on", "and on", "so"]),
    (ted, b"on\rtalk 1 ada 5.5 6 and on", ["go", "on", "and on", "so"]),
    (common_voice, b"on\tacc\r%0128d\t9.mp3\tand on" % 2, ["go", "on", "and on", "so"]),
    (an4, b"on (7)\rand on", ["go", "and on", "so"]),
]


@pytest.mark.parametrize(("corpus_of", "line", "expected"), TWO_ROWS)
def test_a_carriage_return_between_two_rows_makes_them_no_single_transcript(
    corpus_of: Callable[[Path, list[bytes]], Corpus], line: bytes, expected: list[str], tmp_path: Path
) -> None:
    assert [one.transcript for one in corpus_of(tmp_path, [b"go", line, b"so"]).test] == expected


@pytest.mark.parametrize("corpus_of", [librispeech, ted, common_voice, an4])
def test_a_carriage_return_within_a_transcript_is_white_space(
    corpus_of: Callable[[Path, list[bytes]], Corpus], tmp_path: Path
) -> None:
    corpus = corpus_of(tmp_path, [b"go", b"on\rand on", b"so\r"])

    assert [one.transcript for one in corpus.test] == ["go", "on and on", "so"]
    assert not any(corpus.left_out.values())


@pytest.mark.parametrize("content", [b"a\tb\rc\td\r", b"a\tb\rc\td"])
def test_line_ends_of_old_macintoshes_are_told_with_a_cure_that_works(tmp_path: Path, content: bytes) -> None:
    table = tmp_path / "t.tsv"
    table.write_bytes(content)

    with pytest.raises(
        Trouble, match=r"t\.tsv: its lines end with carriage returns: expected line feeds: sed "
    ) as caught:
        list(numbered_lines(table, ROW_END))

    cure = str(caught.value).partition("line feeds: ")[2]
    subprocess.run(["sh", "-c", f"{cure} && mv NEW t.tsv"], cwd=tmp_path, check=True)
    assert list(numbered_lines(table, ROW_END)) == [(1, "a\tb"), (2, "c\td")]
    table.write_bytes(b"a\rb\n")  # white space within a line
    assert list(numbered_lines(table, ROW_END)) == [(1, "a\rb")]
    table.write_bytes(b"a\rb\rIDc\r\r\n")
    assert list(numbered_lines(table, ROW_END)) == [(1, "a\rb"), (1, "IDc\r")]
    table.write_text("a\tb\n", "utf-16")
    with pytest.raises(Trouble, match=r"t\.tsv: is UTF-16: expected UTF-8: convert it with: iconv -f UTF-16 "):
        list(numbered_lines(table, ROW_END))


@pytest.mark.parametrize("kind", ["pipe", "device", "endless"])
def test_a_table_that_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path, kind: str) -> None:
    table = tmp_path / "train.csv"
    if kind == "pipe":
        os.mkfifo(table)
    elif kind == "device":
        table.symlink_to("/dev/zero")
    else:
        table.write_text("wav_filename")
        os.truncate(table, 1 << 40)
    code = "from deepspeech_wer.training.{0} import {1} as f; from pathlib import Path; list(f(Path({2!r}), {3}))"
    calls = [("csv_rows", "read_rows", str(table), "('transcript',)")]
    if kind != "endless":
        calls.append(("importers.tools.lines", "numbered_lines", str(table), repr(ROW_END)))
    for call in calls:
        limited = ["prlimit", f"--as={4 << 30}", sys.executable, "-c", code.format(*call)]
        done = subprocess.run(limited, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        expected = "header in its first line" if kind == "endless" else f"expected a file of .*, found a {kind}"
        assert re.search(f"Trouble: {table}: .*{expected}", done.stderr)
