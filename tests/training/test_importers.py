"""Corpora: tables of recordings, and speech made on the spot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tone_corpus import write_corpus

from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training import audio, importers
from deepspeech_wer.training.corpus import Corpus, Utterance
from deepspeech_wer.training.importers import csv_table, synthetic
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.text import Alphabet


def csv_parameters(directory: Path, **more: str) -> Parameters:
    return from_environment({"ds_importer": "csv", "ds_dataset_path": str(directory), **more})


def table(directory: Path, text: str) -> Path:
    write_corpus(directory, {"train": ["a"]})
    (directory / "train.csv").write_text(text)
    return directory / "train.csv"


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_csv_corpus_has_three_sets_with_speakers(tmp_path: Path, suffix: str) -> None:
    write_corpus(tmp_path / "c", {"train": ["a b", "c"], "dev": ["a"], "test": ["b"]}, suffix)

    corpus = importers.load(csv_parameters(tmp_path / "c"))

    assert [(one.id, one.transcript, one.speaker) for one in corpus.train] == [
        (f"train/0{suffix}", "a b", "s0"),
        (f"train/1{suffix}", "c", "s1"),
    ]
    assert (len(corpus.dev), len(corpus.test)) == (1, 1)


def test_limits_take_the_first_utterances(tones: Path) -> None:
    corpus = importers.load(csv_parameters(tones, ds_limit_train="5", ds_limit_test="2"))

    assert (len(corpus.train), len(corpus.dev), len(corpus.test)) == (5, 6, 2)


def test_repeated_ids_are_made_unique_and_all_count() -> None:
    said = tuple(Utterance(name, Path(name), name) for name in ("a", "b", "a", "a"))
    corpus = Corpus("c", said, (), said[:1]).with_unique_ids()
    assert [one.id for one in corpus.train] == ["a", "b", "a#2", "a#3"]
    assert [one.id for one in corpus.test] == ["a"]


def test_without_a_speaker_column_the_speaker_is_unknown(tmp_path: Path) -> None:
    path = table(tmp_path / "c", "wav_filename,wav_filesize,transcript\ntrain/0.wav,1,a\n")

    assert csv_table.read_table(path)[0].speaker is None


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("train\\a.wav", "train/a.wav"),
        (".\\train\\b c.wav", "train/b c.wav"),
        (" train/a.wav\u00a0", "train/a.wav"),
        ("train/caf\u00e9.wav", "train/cafe\u0301.wav"),
        ("train/cafe\u0301.wav", "train/caf\u00e9.wav"),
        (" train/a.wav", " train/a.wav"),  # what is written comes first
        ("train\\a.wav", "train\\a.wav"),
    ],
)
def test_a_recording_is_found_by_its_name_on_another_system(tmp_path: Path, written: str, there: str) -> None:
    path = table(tmp_path / "c", f"wav_filename,transcript\n{written},a\n")
    for name in {"train/a.wav", there}:
        (tmp_path / "c" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "c" / name).write_bytes(b"")

    (one,) = csv_table.read_table(path)

    assert one.audio == tmp_path / "c" / there
    assert one.id == written


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("columns", ["wav_filename,wav_filesize,transcript", "transcript,wav_filesize,wav_filename"])
def test_a_table_joined_of_several_loses_their_headers_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mark: str, columns: str
) -> None:
    write_corpus(tmp_path / "c", {"train": ["a"] * 3})
    rows = [f"train/{n}.wav,1,a" if columns.startswith("wav") else f"a,1,train/{n}.wav" for n in range(3)]
    text = "\n".join([mark + columns, rows[0], mark + columns, rows[1], mark + rows[2], ""])
    (tmp_path / "c" / "train.csv").write_text(text, encoding="utf-8")

    found = csv_table.read_table(tmp_path / "c" / "train.csv")

    assert [one.id for one in found] == [f"train/{n}.wav" for n in range(3)]
    named, counted = capsys.readouterr().err.splitlines()
    assert named.startswith(f"left out: {tmp_path}/c/train.csv:3: the header once more")
    assert counted.startswith("left out: 1 of 4 rows")


def test_empty_columns_of_a_spreadsheet_are_no_columns(tmp_path: Path) -> None:
    path = table(tmp_path / "c", "wav_filename,transcript,,,\ntrain/0.wav,a,,,\n")
    assert [one.transcript for one in csv_table.read_table(path)] == ["a"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "wav_filename,text\nx,a\n",
            r"train\.csv: no column transcript: expected wav_filename,transcript, found wav_filename,text",
        ),
        ("train/0.wav,1,a\n", r"train\.csv: no column wav_filename, transcript: .*, found train/0\.wav,1,a"),
        ("wav_filename,transcript\n", r"train\.csv: holds no utterance"),
        ("", r"train\.csv: no column"),
        ("wav_filename,transcript\ntrain/9.wav,a\n", r"train\.csv:2: no audio file .*train/9\.wav"),
        (
            "wav_filename,transcript\ntrain/0.wav\n",
            r"1 of 1 rows are at fault.*train\.csv:2: 1 fields, 2 in the header",
        ),
        ("wav_filename,transcript\n,a\n", r"train\.csv:2: a row without wav_filename or transcript"),
        (
            "wav_filename,transcript\ntrain/0.wav,a\ntrain/0.wav,b\n",
            r"csv:2: train/0\.wav has another transcript in .*:3",
        ),
        ("wav_filename,transcript\ntrain/0.wav,no, go\n", r"train\.csv:2: 3 fields, 2 in the header: quote a transc"),
        ("wav_filename,transcript,transcript\n", r"train\.csv: column transcript occurs twice"),
        ('wav_filename,transcript\ntrain/0.wav,"a\n', r"train\.csv:2: .*: a quote is never closed"),
    ],
)
def test_a_bad_table_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Trouble, match=said):
        csv_table.read_table(table(tmp_path / "c", text))


GOOD = "train/0.wav,1,a"
ODD_ROWS = {
    "a comma": b"train/0.wav,1,a, b",
    "a missing column": b"train/0.wav,1",
    "a quote that is not closed": b'train/0.wav,1,"a',
    "a quote that is closed too early": b'train/0.wav,1,"a" b',
    "bytes that are no text": b"train/0.wav,1,caf\xe9",
    "no name": b",1,a",
}


@pytest.mark.parametrize("row", ODD_ROWS.values(), ids=ODD_ROWS)
def test_a_csv_row_of_another_shape_is_left_out_named_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: bytes
) -> None:
    write_corpus(tmp_path / "c", {"train": ["a"] * 20, "dev": ["a"], "test": ["a"]})
    rows = [b"wav_filename,wav_filesize,transcript", *(b"train/%d.wav,1,a b" % number for number in range(1, 20))]
    (tmp_path / "c" / "train.csv").write_bytes(b"\n".join([*rows[:10], row, *rows[10:]]) + b"\n")

    corpus = importers.load(csv_parameters(tmp_path / "c"))

    assert [(one.id, one.transcript) for one in corpus.train] == [(f"train/{n}.wav", "a b") for n in range(1, 20)]
    assert corpus.left_out == {"train": 1, "dev": 0, "test": 0}
    named, counted = capsys.readouterr().err.splitlines()
    assert named.startswith(f"left out: {tmp_path}/c/train.csv:11: ")
    assert counted == f"left out: 1 of 20 rows of {tmp_path}/c/train.csv"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("rest", ["b", "b, c", "b, a, c", "b, a, c, a", "mr. b, a, c", '"b" a', "\0, b, c", ", a, b"])
def test_a_line_break_outside_quotes_cuts_no_transcript(tmp_path: Path, end: str, rest: str) -> None:
    rows = ["wav_filename,wav_filesize,transcript", "train/0.wav,1,a", "train/1.wav,1,b", rest, "train/2.wav,1,c"]
    write_corpus(tmp_path / "c", {"train": ["a"] * 3, "dev": ["a"], "test": ["a"]})
    (tmp_path / "c" / "train.csv").write_bytes(end.join(rows).encode())

    corpus = importers.load(csv_parameters(tmp_path / "c"))

    assert corpus.left_out["train"] == 2  # the beginning, too: its transcript is cut
    assert [one.transcript for one in corpus.train] == ["a", "c"]


BROKEN_TABLES = {
    "the transcript comes first": ("transcript,wav_filename,wav_filesize", "a,{0},1", "b\nc,{1},1", "c,{2},1"),
    "it has commas, too": ("transcript,wav_filename,wav_filesize", "a,{0},1", "b, a\nc,{1},1", "c,{2},1"),
    "it has as many commas as a row": (
        "transcript,wav_filename,wav_filesize",
        "a,{0},1",
        "b, a, b\nc,{1},1",
        "c,{2},1",
    ),
    "it lies between": ("speaker,transcript,wav_filename", "s,a,{0}", "s,b\nc, a,{1}", "s,c,{2}"),
    "the speaker follows": ("wav_filename,transcript,speaker", "{0},a,s", "{1},b, a\nc,s", "{2},c,s"),
}


@pytest.mark.parametrize("lines", BROKEN_TABLES.values(), ids=BROKEN_TABLES)
def test_a_line_break_cuts_no_transcript_in_any_order_of_columns(tmp_path: Path, lines: tuple[str, ...]) -> None:
    write_corpus(tmp_path / "c", {"train": ["a"] * 3, "dev": ["a"], "test": ["a"]})
    text = "\n".join(lines).format(*(f"train/{number}.wav" for number in range(3)))
    (tmp_path / "c" / "train.csv").write_text(text)

    corpus = importers.load(csv_parameters(tmp_path / "c"))

    assert [one.transcript for one in corpus.train] == ["a", "c"]
    assert corpus.left_out["train"] == 2


@pytest.mark.parametrize("odd", ["clip7,1,b", "train/1.wav,1", ",,"])
def test_a_row_of_another_shape_costs_no_other(tmp_path: Path, odd: str) -> None:
    rows = ["wav_filename,wav_filesize,transcript", "train/0.wav,1,a", odd, "train/2.wav,1,c"]
    write_corpus(tmp_path / "c", {"train": ["a"] * 3, "dev": ["a"], "test": ["a"]})
    (tmp_path / "c" / "train.csv").write_text("\n".join(rows))

    corpus = importers.load(csv_parameters(tmp_path / "c"))

    assert [one.transcript for one in corpus.train] == ["a", "c"]
    assert corpus.left_out["train"] == 1


@pytest.mark.parametrize("blank", ["", "   ", "\t", "\u00a0", "\x1a"])
def test_a_blank_line_costs_no_row(tmp_path: Path, capsys: pytest.CaptureFixture[str], blank: str) -> None:
    rows = ["wav_filename,wav_filesize,transcript", "train/0.wav,1,a", blank, "train/1.wav,1,b", blank]
    write_corpus(tmp_path / "c", {"train": ["a"] * 2, "dev": ["a"], "test": ["a"]})
    (tmp_path / "c" / "train.csv").write_text("\n".join(rows))

    assert [one.transcript for one in importers.load(csv_parameters(tmp_path / "c")).train] == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_what_looks_odd_in_a_csv_row_but_is_whole_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "c", 'wav_filename,transcript\r\ntrain/0.wav,"two\r\nlines, a ""quote"""\r\n\r\n')
    (one,) = csv_table.read_table(path)
    assert one.transcript.split() == ["two", "lines,", "a", '"quote"']
    (one,) = csv_table.read_table(table(tmp_path / "d", 'wav_filename,transcript\ntrain/0.wav,5" of\u2028nails\n'))
    assert one.transcript.split() == ['5"', "of", "nails"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mark", [",", "\t"])
def test_a_quote_that_another_row_closes_swallows_no_row(tmp_path: Path, mark: str) -> None:
    rows = ["wav_filename,text,transcript", 'train/0.wav,1,"yes', "train/1.wav,1,a", 'train/2.wav,1,no"']
    write_corpus(tmp_path / "c", {"train": ["a"] * 3, "dev": ["a"], "test": ["a"]})
    (tmp_path / "c" / "train.csv").write_text("\n".join([*rows, ""]).replace(",", mark))
    corpus = importers.load(csv_parameters(tmp_path / "c"))
    assert [one.transcript for one in corpus.train] == ["a", 'no"']
    assert corpus.left_out["train"] == 1

    path = table(tmp_path / "d", f'transcript{mark}wav_filename\n"a{mark} b\nc"{mark}train/0.wav\n')
    assert [one.transcript.split() for one in csv_table.read_table(path)] == [f"a{mark} b c".split()]


def test_the_empty_rows_at_the_end_of_a_spreadsheet_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path / "c", "wav_filename;wav_filesize;transcript\ntrain/0.wav;1;a\n" + ";;\n" * 30 + "; ;\n\n")
    assert [one.transcript for one in csv_table.read_table(path)] == ["a"]
    assert capsys.readouterr().err == ""


def test_blanks_after_the_commas_of_a_table_are_no_part_of_it(tmp_path: Path) -> None:
    path = table(tmp_path / "c", 'wav_filename, "speaker", transcript\ntrain/0.wav, ada, "yes, no"\n')
    assert [(one.speaker, one.transcript) for one in csv_table.read_table(path)] == [("ada", "yes, no")]
    path = table(tmp_path / "d", "wav_filename,speaker,transcript\ntrain/0.wav, ada,go\n")
    assert [one.speaker for one in csv_table.read_table(path)] == [" ada"]


def test_at_most_ten_rows_are_named_and_a_table_of_other_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path / "c", {"train": ["a"] * 280})
    good = [f"train/{number}.wav,a" for number in range(280)]

    def read(odd: int) -> int:
        text = "\n".join(["wav_filename,transcript", *good, *["x.wav,y,z"] * odd])
        (tmp_path / "c" / "train.csv").write_text(text)
        return len(csv_table.read_table(tmp_path / "c" / "train.csv"))

    assert read(14) == 280
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 11
    assert told[-1] == f"left out: 14 of 294 rows of {tmp_path}/c/train.csv"
    with pytest.raises(Trouble, match=r"train\.csv: 16 of 296 rows are at fault, more than 1 in 20; the first: .*:282"):
        read(16)


@pytest.mark.parametrize(
    ("header", "row", "transcript"),
    [
        ("wav_filename;wav_filesize;transcript", "train/{}.wav;1;so, it is", "so, it is"),
        ("WAV_FILENAME\tTranscript\tSpeaker", "train/{}.wav\tso; it is\tada", "so; it is"),
        ("Wav_Filename, TRANSCRIPT", 'train/{}.wav, "so, it is"', "so, it is"),
        ("speaker;transcript;wav_filename", 'ada;"so; it is";train/{}.wav', "so; it is"),
    ],
)
def test_a_table_of_a_spreadsheet_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], header: str, row: str, transcript: str
) -> None:
    write_corpus(tmp_path / "c", {"train": ["a", "a"]})
    path = tmp_path / "c" / "train.csv"
    path.write_text(f"{header}\n{row.format(0)}\n{row.format(1)} {row.format(2)}\n{row.format(1)}\n")

    found = csv_table.read_table(path)

    assert [(one.id, one.transcript) for one in found] == [(f"train/{n}.wav", transcript) for n in (0, 1)]
    assert {one.speaker for one in found} == ({"ada"} if "peaker" in header else {None})
    assert "train.csv:3: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
        ("utf-32-le", "UTF-32LE"),
        ("utf-32-be", "UTF-32BE"),
    ],
)
def test_a_table_of_utf_16_or_32_names_a_cure_that_works(tmp_path: Path, encoding: str, name: str) -> None:
    path = table(tmp_path / "c", "")
    path.write_text("wav_filename\ttranscript\ntrain/0.wav\tça va\n", encoding)

    with pytest.raises(Trouble, match=rf"train\.csv: is {name}: expected UTF-8: convert it with: iconv ") as caught:
        csv_table.read_table(path)

    cure = str(caught.value).partition("convert it with: ")[2]
    subprocess.run(["sh", "-c", f"{cure} && mv NEW train.csv"], cwd=path.parent, check=True)
    assert csv_table.read_table(path)[0].transcript == "ça va"


def test_two_columns_that_differ_in_case_alone_are_told_apart(tmp_path: Path) -> None:
    path = table(tmp_path / "c", "wav_filename,transcript,ID,id\ntrain/0.wav,a,1,2\n")
    assert csv_table.read_table(path)[0].transcript == "a"


def test_a_missing_or_undecodable_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=r"train\.csv: cannot be read"):
        importers.load(csv_parameters(tmp_path))
    (tmp_path / "train.csv").write_bytes(b"wav\xff\xfe\n")
    with pytest.raises(Trouble, match=r"train\.csv: cannot be read as a UTF-8"):
        importers.load(csv_parameters(tmp_path))


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04" + bytes(5000) + b"," * 5000, b'{"audio_filepath": "a.wav", "text": "' + b"ada " * 5000 + b'"}\n'],
)
def test_a_file_that_is_no_table_is_quoted_in_one_short_line(tmp_path: Path, content: bytes) -> None:
    path = table(tmp_path / "c", "")
    path.write_bytes(content)
    with pytest.raises(Trouble, match=r"train\.csv: cannot be read as a UTF-8 CSV table: its header is '") as caught:
        csv_table.read_table(path)
    assert len(str(caught.value)) < len(str(path)) + 1000


def test_the_csv_importer_needs_its_path() -> None:
    with pytest.raises(UsageTrouble, match="ds_dataset_path"):
        importers.load(from_environment({"ds_importer": "csv"}))


SIZES = {"ds_synthetic_train": "3", "ds_synthetic_dev": "1", "ds_synthetic_test": "2"}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic corpus of six utterances."""
    pytest.importorskip("espeakng_loader", reason="the synthetic corpus is spoken by espeakng-loader")
    directory = tmp_path_factory.mktemp("synthetic") / "corpus"
    importers.load(from_environment({**SIZES, "ds_dataset_path": str(directory)}))
    return directory


def test_all_wrong_rows_of_all_tables_are_told_at_once(tmp_path: Path) -> None:
    write_corpus(tmp_path / "c", {"train": ["a"] * 3, "dev": ["a"], "test": ["a"]})
    wrong = [f"gone/{number}.wav,1,a" for number in range(15)]
    for name in ("train", "test"):
        rows = ["wav_filename,wav_filesize,transcript", f"{name}/0.wav,1,a", *wrong]
        (tmp_path / "c" / f"{name}.csv").write_text("\n".join(rows))

    with pytest.raises(Trouble) as caught:
        importers.load(csv_parameters(tmp_path / "c"))

    told = str(caught.value).splitlines()
    assert len(told) == 2 * 11
    assert "train.csv:3: no audio file " in told[0]
    assert told[10].startswith(f"{tmp_path}/c/train.csv: 15 rows are wrong; the first: ")
    assert told[21].startswith(f"{tmp_path}/c/test.csv: 15 rows are wrong; the first: ")


@pytest.mark.parametrize(
    ("letters", "written", "expected"),
    [
        (Alphabet().letters, "DON’T stop\u00ad,\u200b “NOW” – he said…", "don't stop now he said"),
        (Alphabet().letters, "\ufeffit`s ‘fine’ at O´Hara‘s", "it's fine at o'hara's"),
        (" abcdefghiklmnoprstuvwyzäöüß", "U\u0308BER GRO\u1e9eE STRA\u00dfE\u202c", "über große straße"),
        (" abehilstu\u200d", "Hi\u200dt,\u200e Be!", "hi\u200dt be"),  # a joiner that the alphabet has
        (" abcçdefgğhıijklmnoöprsştuüvyz", "ISLAK\u00a0İNCİR", "ıslak incir"),
    ],
)
def test_transcripts_as_people_have_them_can_be_folded(
    tmp_path: Path, letters: str, written: str, expected: str
) -> None:
    write_corpus(tmp_path / "c", {"train": ["a"], "dev": ["a"], "test": ["a"]})
    (tmp_path / "letters.txt").write_text(Alphabet(letters).to_text(), "utf-8")
    for name in ("train", "dev", "test"):
        text = f'wav_filename,transcript\n{name}/0.wav,"{written}"\n'
        (tmp_path / "c" / f"{name}.csv").write_text(text, "utf-8")
    alphabet = {"ds_alphabet": str(tmp_path / "letters.txt")}

    strict = importers.load(csv_parameters(tmp_path / "c", **alphabet))
    fold = importers.load(csv_parameters(tmp_path / "c", **alphabet, ds_text="fold"))

    assert strict.test[0].transcript == written
    assert [one.transcript for sets in fold.sets().values() for one in sets] == [expected] * 3
    assert not Alphabet(letters).outside(fold.test[0].transcript)


def test_synthetic_speech_is_16_khz_words_by_known_speakers(spoken: Path) -> None:
    corpus = importers.load(from_environment({**SIZES, "ds_dataset_path": str(spoken)}))

    assert (len(corpus.train), len(corpus.dev), len(corpus.test)) == (3, 1, 2)
    assert set(" ".join(one.transcript for one in corpus.train).split()) <= set(synthetic.WORDS)
    assert corpus.train[0].speaker in synthetic.VOICES
    samples = audio.read_audio(corpus.test[0].audio)
    assert 0.4 < len(samples) / 16_000 < 5
    assert np.abs(samples).max() > 1000


def test_synthetic_speech_is_the_same_on_every_clone(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the synthetic corpus is spoken by espeakng-loader")
    code = (
        "import os\n"
        "from deepspeech_wer.training import importers, parameters\n"
        "importers.load(parameters.from_environment(os.environ))"
    )
    sizes = {"ds_synthetic_train": "40", "ds_synthetic_dev": "4", "ds_synthetic_test": "4"}
    made = []
    for name in ("one", "another"):  # a process of its own each, as what it spoke before matters
        place = tmp_path / name
        environment = {**os.environ, **sizes, "ds_importer": "synthetic", "ds_dataset_path": str(place)}
        subprocess.run([sys.executable, "-c", code], env=environment, check=True)
        made.append((place / "manifest.json").read_text())
    assert made[0] == made[1]


def test_synthetic_speech_is_made_once(spoken: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in spoken.rglob("*")}

    importers.load(from_environment({**SIZES, "ds_dataset_path": str(spoken)}))

    assert {path: path.stat().st_mtime_ns for path in spoken.rglob("*")} == before
    assert not list(spoken.parent.glob("*.partial"))


def test_changed_synthetic_speech_is_refused(spoken: Path) -> None:
    changed = spoken / "test" / "00001.flac"
    original = changed.read_bytes()
    changed.write_bytes(original[:-1] + b"x")
    try:
        with pytest.raises(Trouble, match=r"test/00001\.flac: is not what was made .*: remove"):
            importers.load(from_environment({**SIZES, "ds_dataset_path": str(spoken)}))
    finally:
        changed.write_bytes(original)


def test_synthetic_speech_of_another_size_is_refused(spoken: Path) -> None:
    with pytest.raises(Trouble, match="another recipe"):
        importers.load(from_environment({"ds_dataset_path": str(spoken)}))


def test_no_speech_is_synthesised_into_a_directory_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    with pytest.raises(Trouble, match=r"holds files but no manifest\.json"):
        importers.load(from_environment({**SIZES, "ds_dataset_path": str(tmp_path)}))


def test_a_broken_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(["?"]))

    with pytest.raises(Trouble, match="is not a readable manifest"):
        importers.load(from_environment({**SIZES, "ds_dataset_path": str(tmp_path)}))


def test_speech_in_another_rate_is_refused_when_it_is_read(tmp_path: Path) -> None:
    write_corpus(tmp_path / "c", {"train": ["a"], "dev": ["a"], "test": ["a"]})
    soundfile.write(tmp_path / "c" / "train" / "0.wav", np.zeros(8000, np.int16), 8000)

    with pytest.raises(Trouble, match="8000 Hz, 1 channels: expected 16000 Hz, mono"):
        audio.read_audio(importers.load(csv_parameters(tmp_path / "c")).train[0].audio)
