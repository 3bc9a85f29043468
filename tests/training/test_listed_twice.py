"""A recording, or a segment of one, that a set lists twice: it would count twice in the error rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import importers
from deepspeech_wer.training.corpus import Corpus
from deepspeech_wer.training.parameters import from_environment

Rows = list[tuple[int, str]]  # number of the recording, transcript
SETS = ("train", "dev", "test")


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def loaded(importer: str, place: Path, **more: str) -> Corpus:
    return importers.load(from_environment({"ds_importer": importer, "ds_dataset_path": str(place), **more}))


def csv(place: Path, rows: Rows) -> Corpus:
    for kind in SETS:
        for number, _ in rows:
            write(place / f"{number}.wav")
        names = [f"{'./' * (place_in_table % 2)}{number}.wav" for place_in_table, (number, _) in enumerate(rows)]
        lines = [f"{name},{text}\n" for name, (_, text) in zip(names, rows, strict=True)]
        write(place / f"{kind}.csv", "wav_filename,transcript\n" + "".join(lines))
    return loaded("csv", place)


def an4(place: Path, rows: Rows) -> Corpus:
    for kind in ("train", "test"):
        texts = dict(reversed(rows))
        write(place / f"an4/etc/an4_{kind}.fileids", "".join(f"clstk/ada/{number}\n" for number, _ in rows))
        lines = [f"<s> {text} </s> ({number})\n" for number, text in texts.items()]
        write(place / f"an4/etc/an4_{kind}.transcription", "".join(lines))
        for number in texts:
            write(place / f"an4/wav/clstk/ada/{number}.sph")
    return loaded("an4", place)


def librispeech(place: Path, rows: Rows) -> Corpus:
    for subset in ("train-clean-5", "dev-clean-2", "test-clean"):
        chapter = place / "LibriSpeech" / subset / "1" / "2"
        write(chapter / "1-2.trans.txt", "".join(f"1-2-{number:04d} {text}\n" for number, text in rows))
        for number, _ in rows:
            write(chapter / f"1-2-{number:04d}.flac")
    return loaded("librivox", place, ds_librivox_subsets="train-clean-5,dev-clean-2,test-clean")


def ted(place: Path, rows: Rows) -> Corpus:
    for kind in SETS:
        lines = [
            f"talk 1 ada {number} {number + 1}.{'0' * place} {text}\n" for place, (number, text) in enumerate(rows)
        ]
        write(place / kind / "stm" / "talk.stm", "".join(lines))
        write(place / kind / "sph" / "talk.sph")
    return loaded("ted", place)


def common_voice(place: Path, rows: Rows) -> Corpus:
    write(place / "en" / "clips" / "0.mp3")
    for kind in SETS:
        lines = [f"{position:0128d}\t{number}.mp3\t{text}\n" for position, (number, text) in enumerate(rows)]
        write(place / "en" / f"{kind}.tsv", "client_id\tpath\tsentence\n" + "".join(lines))
    return loaded("common_voice", place)


def first_common_voice(place: Path, rows: Rows) -> Corpus:
    for kind in SETS:
        lines = [f"{'cv/' * (position % 2)}{number}.mp3,{text}\n" for position, (number, text) in enumerate(rows)]
        write(place / f"cv-valid-{kind}.csv", "filename,text\n" + "".join(lines).replace("cv/", f"cv-valid-{kind}/"))
        for number, _ in rows:
            write(place / f"cv-valid-{kind}" / f"{number}.mp3")
    return loaded("common_voice", place)


def spontaneous(place: Path, rows: Rows) -> Corpus:
    write(place / "audios" / "0.mp3")
    lines = [f"ada\t{number}.mp3\t{text}\t{kind}\n" for kind in SETS for number, text in rows]
    write(place / "ss-corpus-en.tsv", "client_id\taudio_file\ttranscription\tsplit\n" + "".join(lines))
    return loaded("common_voice", place)


IMPORTERS = [csv, an4, librispeech, ted, common_voice, first_common_voice, spontaneous]
GOOD: Rows = [(number, "go on") for number in range(12)]


@pytest.mark.parametrize("corpus_of", IMPORTERS)
def test_what_a_set_lists_twice_counts_once_and_is_told(
    corpus_of: Callable[[Path, Rows], Corpus], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = corpus_of(tmp_path, [*GOOD, GOOD[3], GOOD[0]])

    assert len({one.id for one in corpus.test}) == len(corpus.test) == 12  # one sentence in several recordings is right
    assert {kind: count for kind, count in corpus.left_out.items() if count != 2} == {}
    told = [line for line in capsys.readouterr().err.splitlines() if "test" in line]
    assert [line for line in told if " is listed twice, first in " in line and line.endswith(": expected it once")]
    assert told[-1].startswith("left out: 2 of 14 rows of ")


@pytest.mark.parametrize("corpus_of", [each for each in IMPORTERS if each is not an4])
def test_of_two_transcripts_of_one_recording_none_is_used(
    corpus_of: Callable[[Path, Rows], Corpus], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = corpus_of(tmp_path, [*GOOD, (3, "stop")])

    assert len(corpus.test) == 11
    assert corpus.left_out["test"] == 2
    assert " has another transcript in " in capsys.readouterr().err


def test_a_set_that_is_listed_twice_as_a_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Trouble, match=r"12 of 24 rows are at fault, .*train\.tsv:14: 0 is listed twice, first in .*:2:"
    ):
        common_voice(tmp_path, [*GOOD, *GOOD])
