"""The importers of public corpora, each on a small archive of the real layout, served as the real one is."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tone_corpus import ROOT, Job, tone_speech
from web_server import Site

from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training import audio, dataset, importers
from deepspeech_wer.training.corpus import Corpus, Segment
from deepspeech_wer.training.importers import an4, librivox, ted
from deepspeech_wer.training.importers.tools.download import RemoteFile
from deepspeech_wer.training.importers.tools.transcripts import spoken
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.text import Alphabet

Samples = np.ndarray[Any, np.dtype[np.int16]]


def sound(text: str = "a b c", kind: str = "FLAC", rate: int = 16_000, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    samples = np.repeat(tone_speech(text)[:, None], channels, 1)
    soundfile.write(stream, samples, rate, format=kind, subtype=None if kind == "MP3" else "PCM_16")
    return stream.getvalue()


def packed(files: Mapping[str, bytes | str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            raw = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return stream.getvalue()


def parameters(importer: str, place: Path, site: Site | None = None, **more: str) -> Parameters:
    mirror = {"ds_mirror_url": site.url} if site else {}
    return from_environment({"ds_importer": importer, "ds_dataset_path": str(place), **mirror, **more})


def prepared(corpus: Corpus, cache: Path, alphabet: Alphabet | None = None) -> dict[str, tuple[dataset.Item, ...]]:
    letters = alphabet or Alphabet()
    return {name: dataset.prepare(one, letters, cache, tolerant=corpus.tolerant) for name, one in corpus.sets().items()}


# LDC93S1


def test_ldc93s1_is_one_utterance_three_times(site: Site, tmp_path: Path) -> None:
    site.files = {"LDC93S1.wav": sound(kind="WAV"), "LDC93S1.txt": b"0 46797 She had your dark suit.\n"}

    corpus = importers.load(parameters("ldc93s1", tmp_path, site))

    assert corpus.train == corpus.dev == corpus.test
    assert [(one.id, one.transcript) for one in corpus.train] == [("LDC93S1", "she had your dark suit")]
    assert len(prepared(corpus, tmp_path / "cache")["test"]) == 1
    asked = len(site.asked)
    importers.load(parameters("ldc93s1", tmp_path, site))
    assert len(site.asked) == asked == 2


def test_ldc93s1_text_of_another_form_is_refused(site: Site, tmp_path: Path) -> None:
    site.files = {"LDC93S1.wav": sound(kind="WAV"), "LDC93S1.txt": b"<html>moved</html>"}

    with pytest.raises(Trouble, match=r"LDC93S1\.txt: expected FIRST_SAMPLE LAST_SAMPLE SENTENCE"):
        importers.load(parameters("ldc93s1", tmp_path, site))


def test_the_recipe_of_ldc93s1_learns_its_utterance_by_heart(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="the utterance is spoken by espeakng-loader")
    code = """
import sys, soundfile
from deepspeech_wer.training.audio import resample
from deepspeech_wer.training.importers.tools.espeak import Engine
engine = Engine()
samples = engine.speak("She had your dark suit in greasy wash water all year.", "en-us", 160, 50)
soundfile.write(sys.argv[1], resample(samples, engine.rate), 16_000, subtype="PCM_16")
"""
    (tmp_path / "mirror").mkdir()
    # In a process of its own: there is one engine to a process, and another test has it.
    subprocess.run([sys.executable, "-c", code, tmp_path / "mirror" / "LDC93S1.wav"], check=True)
    (tmp_path / "mirror" / "LDC93S1.txt").write_text("0 46797 She had your dark suit in greasy wash water all year.\n")
    job = Job(tmp_path / "logs", tmp_path / "ldc93s1")
    unset = ("ds_importer", "ds_n_hidden", "ds_epochs", "ds_train_batch_size")
    environment = {name: value for name, value in job.environment().items() if name not in unset}
    environment["ds_mirror_url"] = str(tmp_path / "mirror")

    done = subprocess.run(
        [ROOT / "bin" / "run-ldc93s1.sh"], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert job.record()["results"]["test_wer"] == 0
    assert job.record("utterances.json")["rows"][0][-1] == "she had your dark suit in greasy wash water all year"


# LibriSpeech

SUBSETS = {"ds_librivox_subsets": "train-clean-100,dev-clean,test-clean,test-other"}


def libri(subset: str, speaker: int = 84, **more: bytes | str) -> dict[str, bytes | str]:
    chapter = f"LibriSpeech/{subset}/{speaker}/121"
    name = f"{speaker}-121"
    return {
        "LibriSpeech/README.TXT": "read me",
        f"{chapter}/{name}-0000.flac": sound("a b c"),
        f"{chapter}/{name}-0001.flac": sound("b"),
        f"{chapter}/{name}.trans.txt": f"{name}-0000 DON'T GO\n{name}-0001 A\n",
        **{f"{chapter}/{key}": value for key, value in more.items()},
    }


@pytest.fixture
def libri_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """LibriSpeech's archives; no archive that a test makes has the published hash."""
    for number, subset in enumerate(("train-clean-100", "dev-clean", "test-clean", "test-other")):
        site.files[f"{subset}.tar.gz"] = packed(libri(subset, 84 + number))
        monkeypatch.setitem(librivox.SHA256, subset, None)
    return site


def test_librivox_has_its_subsets_and_speakers(libri_site: Site, tmp_path: Path) -> None:
    corpus = importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS))

    assert [(one.id, one.transcript, one.speaker) for one in corpus.train] == [
        ("84-121-0000", "don't go", "84"),
        ("84-121-0001", "a", "84"),
    ]
    assert [one.speaker for one in corpus.test] == ["86", "86", "87", "87"]
    assert {name: len(one) for name, one in prepared(corpus, tmp_path / "cache").items()} == {
        "train": 2,
        "dev": 2,
        "test": 4,
    }
    assert len(libri_site.asked) == 4
    importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS))
    assert len(libri_site.asked) == 4


def test_librivox_knows_which_test_set_an_utterance_is_from(libri_site: Site, tmp_path: Path) -> None:
    corpus = importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS, ds_test_sets="test-other"))

    assert [one.part for one in corpus.test] == ["test-clean", "test-clean", "test-other", "test-other"]
    assert {one.part for one in (*corpus.train, *corpus.dev)} == {None}
    assert not corpus.further


@pytest.mark.parametrize("name", ["dev-clean", "test-unknown", "test-other"])
def test_a_test_set_that_librispeech_has_not_is_refused(tmp_path: Path, name: str) -> None:
    subsets = {"ds_librivox_subsets": "train-clean-100,dev-clean,test-clean"}
    with pytest.raises(
        UsageTrouble, match=rf"ds_test_sets: {name}: expected some of .* ds_librivox_subsets: test-clean$"
    ):
        importers.load(parameters("librivox", tmp_path, **subsets, ds_test_sets=f"test-clean,{name}"))


def test_librivox_resumes_after_an_interrupted_download(libri_site: Site, tmp_path: Path) -> None:
    libri_site.statuses = [200, 404]  # the first subset arrives, the second does not
    with pytest.raises(Trouble, match=r"dev-clean\.tar\.gz: HTTP 404"):
        importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS))

    importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS))

    names = [path.strip("/").removesuffix(".tar.gz") for path, _ in libri_site.asked]
    assert names == ["train-clean-100", "dev-clean", "dev-clean", "test-clean", "test-other"]


def test_librivox_that_was_unpacked_by_hand_is_used(tmp_path: Path) -> None:
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        for name, content in libri(subset).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)

    three = {"ds_librivox_subsets": "train-clean-100, dev-clean, test-clean"}
    assert len(importers.load(parameters("librivox", tmp_path, **three)).test) == 2


def unpacked(place: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return place


def test_the_directory_of_librispeech_itself_will_do(tmp_path: Path) -> None:
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        unpacked(tmp_path, libri(subset))
    three = {"ds_librivox_subsets": "train-clean-100,dev-clean,test-clean"}

    assert len(importers.load(parameters("librivox", tmp_path / "LibriSpeech", **three)).train) == 2
    with pytest.raises(UsageTrouble, match=r"dev-clean'?: is one subset of LibriSpeech: expected .*LibriSpeech$"):
        importers.load(parameters("librivox", tmp_path / "LibriSpeech" / "dev-clean", **three))


def test_what_a_mac_writes_beside_files_is_no_part_of_a_corpus(
    tmp_path: Path, german: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = b"\0\5\x16\7\0\2\0\0Mac OS X        "
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        unpacked(tmp_path, libri(subset))
    for kind in ("train", "dev", "test"):
        unpacked(tmp_path / kind, {"sph/talk.sph": sound("a b c a b c", "NIST"), "stm/talk.stm": STM})
    unpacked(tmp_path / "voice", {NAME: common_voice_archive()})
    for path in [*tmp_path.rglob("*.*")]:
        path.with_name(f"._{path.name}").write_bytes(data)
    del german["ds_common_voice_archive"]

    three = {"ds_librivox_subsets": "train-clean-100,dev-clean,test-clean"}
    assert len(importers.load(parameters("librivox", tmp_path, **three)).train) == 2
    assert len(importers.load(parameters("ted", tmp_path)).train) == 2
    assert len(importers.load(parameters("common_voice", tmp_path / "voice", **german)).train) == 2
    assert "._" not in capsys.readouterr().err


def test_mini_librispeech_is_read_and_lacks_a_test_set(site: Site, tmp_path: Path) -> None:
    site.files = {f"{name}.tar.gz": packed(libri(name)) for name in librivox.MINI}
    unpacked(tmp_path, libri("test-clean"))
    mini = "train-clean-5,dev-clean-2"

    corpus = importers.load(parameters("librivox", tmp_path, site, ds_librivox_subsets=f"{mini},test-clean"))

    assert [len(corpus.sets()[name]) for name in ("train", "dev", "test")] == [2, 2, 2]
    with pytest.raises(UsageTrouble, match=r"mini-LibriSpeech has no test set: add test-clean$"):
        importers.load(parameters("librivox", tmp_path, site, ds_librivox_subsets=mini))


def test_librivox_checks_the_published_hash(libri_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    with pytest.raises(Trouble, match=r"train-clean-100\.tar\.gz: its SHA-256 is \w+, expected d4ddd1d5"):
        importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS))


@pytest.mark.parametrize("subsets", ["", "train-clean-100", "train-clean-10,dev-clean,test-clean"])
def test_invalid_librivox_subsets_are_refused(tmp_path: Path, subsets: str) -> None:
    with pytest.raises(UsageTrouble, match=r"ds_librivox_subsets=.*at least one each of train, dev and test"):
        importers.load(parameters("librivox", tmp_path, ds_librivox_subsets=subsets))


BAD_AUDIO = {
    "truncated": (sound()[:400], "cannot be read as audio"),
    "another rate": (sound(rate=8000), "8000 Hz, 1 channels: expected 16000 Hz, mono"),
    "stereo": (sound(channels=2), "16000 Hz, 2 channels: expected 16000 Hz, mono"),
}


@pytest.mark.parametrize(("content", "said"), BAD_AUDIO.values(), ids=BAD_AUDIO)
def test_bad_audio_is_left_out_and_named(
    libri_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    libri_site.files["dev-clean.tar.gz"] = packed(libri("dev-clean", **{"84-121-0001.flac": content}))

    items = prepared(importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS)), tmp_path / "cache")

    assert [item.utterance.id for item in items["dev"]] == ["84-121-0000"]
    told, counted = capsys.readouterr().err.splitlines()[-2:]
    assert told.startswith("left out: utterance 84-121-0001 (")
    assert "84-121-0001.flac" in told
    assert said in told
    assert counted == "left out: 1 of 2 utterances"


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ("84-121-0007 A", r"0007.flac beside it"),
        ("84-121-0000", "expected UTTERANCE TEXT"),
        ("84-121-0000  ", "expected UTTERANCE TEXT"),
        ("../84-121-0000 A", "expected UTTERANCE TEXT"),
    ],
)
def test_a_row_of_librivox_of_another_shape_is_left_out_named_and_counted(
    libri_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], odd: str, said: str
) -> None:
    text = f"84-121-0001 GO\u2028ON\x85AND\rON\n{odd}\r\n"
    libri_site.files["dev-clean.tar.gz"] = packed(libri("dev-clean", **{"84-121.trans.txt": text}))

    corpus = importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS))

    assert [one.transcript for one in corpus.dev] == ["go on and on"]  # a line ends with a line feed only
    assert corpus.left_out == {"train": 0, "dev": 1, "test": 0}
    named, counted = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert "84-121.trans.txt:2: " in named
    assert said in named
    assert counted.startswith("left out: 1 of 2 rows of ")


@pytest.mark.parametrize("rest", ["STOP IT", "1984 WAS BIG", "...", "84 TIMES"])
def test_a_line_break_in_a_text_of_librivox_leaves_out_both_halves(libri_site: Site, tmp_path: Path, rest: str) -> None:
    text = f"84-121-0000 GO\n84-121-0001 AND\n{rest}\n"
    libri_site.files["dev-clean.tar.gz"] = packed(libri("dev-clean", **{"84-121.trans.txt": text}))

    corpus = importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS))

    assert [one.transcript for one in corpus.dev] == ["go"]
    assert corpus.left_out["dev"] == 2


def test_a_blank_before_a_name_of_librivox_costs_no_row(libri_site: Site, tmp_path: Path) -> None:
    text = "84-121-0000 GO\n 84-121-0001 ON\n"
    libri_site.files["dev-clean.tar.gz"] = packed(libri("dev-clean", **{"84-121.trans.txt": text}))

    corpus = importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS))

    assert [one.transcript for one in corpus.dev] == ["go", "on"]


def test_recordings_of_librivox_without_a_transcript_are_told(
    libri_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = libri("dev-clean", **{"84-121-0002.flac": sound(), "../122/84-122-0000.flac": sound()})
    flat = {name.replace("121/../", ""): content for name, content in more.items()}
    libri_site.files["dev-clean.tar.gz"] = packed(flat)

    assert len(importers.load(parameters("librivox", tmp_path, libri_site, **SUBSETS)).dev) == 2

    told = [line for line in capsys.readouterr().err.splitlines() if "no table names" in line]
    assert len(told) == 1
    assert "dev-clean: recordings that no table names, which are not used: 2, the first: " in told[0]
    assert told[0].endswith("84/121/84-121-0002.flac")


def test_an_archive_with_a_path_that_leaves_it_is_refused(libri_site: Site, tmp_path: Path) -> None:
    libri_site.files["dev-clean.tar.gz"] = packed({"../../evil": "x"})

    with pytest.raises(Trouble, match=r"dev-clean\.tar\.gz: \.\./\.\./evil leaves the archive"):
        importers.load(parameters("librivox", tmp_path / "a" / "b", libri_site, **SUBSETS))
    assert not (tmp_path / "evil").exists()


# TED-LIUM

STM = """;; a comment
talk S28 inter_segment_gap 0 0.1 <o,,unknown> ignore_time_segment_in_scoring
talk S28 Ada 0.1 0.9 <o,f0,female> it 's {UH} here(2) <sil>
talk S28 Ada 0.9 1.50 <o,f0,female> the <unk> man
talk S28 Bob 1.5 1.90 we
"""


def ted_archive(stm: str = STM) -> bytes:
    talk = sound("a b c a b c", "NIST")
    folders = [f"TEDLIUM_release2/{kind}" for kind in ("train", "dev", "test")]
    return packed({f"{one}/sph/talk.sph": talk for one in folders} | {f"{one}/stm/talk.stm": stm for one in folders})


@pytest.fixture
def ted_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    site.files["TEDLIUM_release2.tar.gz"] = ted_archive()
    monkeypatch.setattr(ted, "ARCHIVE", RemoteFile(ted.ARCHIVE.url))
    return site


def test_ted_reads_the_segments_of_its_talks(
    ted_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = importers.load(parameters("ted", tmp_path, ted_site))

    assert [(one.id, one.transcript, one.speaker, one.segment) for one in corpus.train] == [
        ("talk-0000010-0000090", "it's here", "Ada", Segment(0.1, 0.9)),
        ("talk-0000150-0000190", "we", "Bob", Segment(1.5, 1.9)),
    ]
    assert (
        f"{tmp_path}/TEDLIUM_release2/TEDLIUM_release2/train: segments with <unk>, which are not used: 1"
        in capsys.readouterr().err
    )
    items = prepared(corpus, tmp_path / "cache")["test"]
    assert [round(item.seconds, 1) for item in items] == [0.8, 0.4]
    samples = tone_speech("a b c a b c")[1600:14_400].astype(np.float32)
    assert np.array_equal(np.load(items[0].mel), audio.log_mel(samples))


@pytest.mark.parametrize("times", ["0.1 late", "0.1 nan", "0.1 inf", "0.4 0.1", "-1 0.1"])
def test_a_malformed_line_of_ted_is_named(ted_site: Site, tmp_path: Path, times: str) -> None:
    ted_site.files["TEDLIUM_release2.tar.gz"] = ted_archive(
        f"talk 1 inter_segment_gap 0 0 <o,,unknown> \ntalk S28 Ada {times} <o> text\n"
    )

    with pytest.raises(Trouble, match=rf"talk\.stm:2: 'talk S28 Ada {times} <o> text': expected TALK CHANNEL"):
        importers.load(parameters("ted", tmp_path, ted_site))


def test_rows_of_ted_of_another_shape_are_left_out_and_counted(
    ted_site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ted_site.files["TEDLIUM_release2.tar.gz"] = ted_archive(f"{STM}talk S28 Bob late 2 oh\nman\n")

    corpus = importers.load(parameters("ted", tmp_path, ted_site))

    assert [one.speaker for one in corpus.test] == ["Ada", "Bob"]
    assert corpus.left_out == {"train": 2, "dev": 2, "test": 2}
    ted_site.files["TEDLIUM_release2.tar.gz"] = ted_archive(f"{STM}and so on\n")  # after a line break in the last text
    cut = importers.load(parameters("ted", tmp_path / "cut", ted_site))
    assert [one.speaker for one in cut.test] == ["Ada"]
    assert "talk.stm:7: 'man': expected TALK CHANNEL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "left"),
    [
        ("talk S28 Bob 2 3 the\n<unk> man\n", ["it's here", "we"]),
        ("talk S28 Bob 2 3 in\nthe good years 1990 2000 we went\n", ["it's here", "we"]),
        ("talk S28 Bob 2 3 the <unk>\nman\n", ["it's here", "we"]),
        ("talk S28 Bob 2 3 this is my\ntalk about it\n", ["it's here", "we"]),
        ("talk S28 Bob 2 3 <unk> man\n", ["it's here", "we"]),
        ("talk S28 inter_segment_gap 2 3 <o,,unknown>\ntalk S28 Bob 3\n", ["it's here", "we"]),
    ],
)
def test_a_line_break_cuts_no_segment_of_ted_and_costs_no_other(
    ted_site: Site, tmp_path: Path, broken: str, left: list[str]
) -> None:
    ted_site.files["TEDLIUM_release2.tar.gz"] = ted_archive(STM + broken)

    assert [one.transcript for one in importers.load(parameters("ted", tmp_path, ted_site)).train] == left


def test_a_table_of_ted_without_rows_needs_no_recording(ted_site: Site, tmp_path: Path) -> None:
    importers.load(parameters("ted", tmp_path, ted_site))
    [root] = tmp_path.rglob("TEDLIUM_release2/train")
    (root / "stm" / "empty.stm").write_text(";; nothing yet\n")

    assert [one.transcript for one in importers.load(parameters("ted", tmp_path, ted_site)).train] == [
        "it's here",
        "we",
    ]


def test_a_set_of_ted_that_holds_gaps_alone_is_refused(ted_site: Site, tmp_path: Path) -> None:
    importers.load(parameters("ted", tmp_path, ted_site))
    [root] = tmp_path.rglob("TEDLIUM_release2/dev")
    for table in root.glob("stm/*.stm"):
        table.write_text(f"{table.stem} 1 inter_segment_gap 0 1 <o,,unknown> ignore_time_segment_in_scoring\n")

    with pytest.raises(Trouble, match=r"TEDLIUM_release2/dev: holds no utterance: expected at least one"):
        importers.load(parameters("ted", tmp_path, ted_site))


# Common Voice

HEADER = "client_id\tpath\tsentence\tup_votes\n"


def common_voice_archive(**tables: str) -> bytes:
    root = "cv-corpus-17.0-2024-03-15/de"
    row = f"{'f' * 128}\tcommon_voice_de_{{}}.mp3\t{{}}\t2\n"
    sentences = {
        "train": ["„Zwölf“ süße Äpfel – groß!", 'Er sagte: "so'],
        "dev": ["Übermut"],
        "test": ["Ja."],
    }
    files: dict[str, bytes | str] = {}
    for kind, said in sentences.items():
        rows = "".join(row.format(f"{kind}{number}", text) for number, text in enumerate(said))
        files[f"{root}/{kind}.tsv"] = tables.get(kind, HEADER + rows)
        for number in range(len(said)):
            files[f"{root}/clips/common_voice_de_{kind}{number}.mp3"] = sound("a b c a b c a b c", "MP3", 48_000)
    return packed({f"{root}/validated.tsv": HEADER, **files})


GERMAN = " abcdefghijklmnopqrstuvwxyzäöüß"
NAME = "cv-corpus-17.0-2024-03-15-de.tar.gz"


@pytest.fixture
def german(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "alphabet.txt").write_text(Alphabet(GERMAN).to_text(), "utf-8")
    return {"ds_alphabet": str(tmp_path / "alphabet.txt"), "ds_common_voice_archive": NAME}


@pytest.mark.parametrize("keeps_old", [True, False])
@pytest.mark.parametrize("is_named", [True, False])
def test_the_next_release_under_its_own_name_is_never_mixed_up_with_the_one_before(
    german: dict[str, str], tmp_path: Path, keeps_old: bool, is_named: bool
) -> None:
    corpora, following = tmp_path / "corpora", "cv-corpus-18.0-2024-06-14-de.tar.gz"
    corpora.mkdir()
    del german["ds_common_voice_archive"]
    (corpora / NAME).write_bytes(common_voice_archive())
    importers.load(parameters("common_voice", corpora, **german))
    if not keeps_old:
        (corpora / NAME).unlink()
    (corpora / following).write_bytes(
        common_voice_archive(test=HEADER + f"{'f' * 128}\tcommon_voice_de_test0.mp3\tNein.\t2\n")
    )
    named = {"ds_common_voice_archive": following} if is_named else {}
    for _ in range(2):
        with pytest.raises(
            UsageTrouble, match=rf"expected one release, found {NAME[:-7]}, unpacked, and .* {following}"
        ):
            importers.load(parameters("common_voice", corpora, **german, **named))
    (corpora / NAME.removesuffix(".tar.gz")).rename(tmp_path / "away")
    if keeps_old and not is_named:
        with pytest.raises(UsageTrouble, match=rf"expected one archive, found {NAME}, {following}: name one in"):
            importers.load(parameters("common_voice", corpora, **german, **named))
        (corpora / NAME).unlink()
    corpus = importers.load(parameters("common_voice", corpora, **german, **named))
    assert [one.transcript for one in corpus.test] == ["nein"]


FIRST = "filename,text,up_votes,down_votes,age,gender,accent,duration\n"


@pytest.mark.parametrize("nested", [False, True], ids=["as published", "as unpacked by Kaggle"])
def test_common_voice_of_2017_is_read(tmp_path: Path, nested: bool) -> None:
    for kind in ("train", "dev", "test"):
        name = f"cv-valid-{kind}"
        where = f"{name}/{name}" if nested else name
        rows = f"{name}/sample-000000.mp3,it's a boy's \"test\",3,0,,,,\n".replace('"test"', "b")
        unpacked(
            tmp_path / "cv_corpus_v1",
            {f"{where}/sample-000000.mp3": sound("a b c a b c", "MP3", 48_000), f"{name}.csv": FIRST + rows},
        )

    corpus = importers.load(parameters("common_voice", tmp_path))

    assert [one.transcript for one in corpus.train] == ["it's a boy's b"]
    assert [one.id for one in corpus.test] == ["cv-valid-test/sample-000000"]
    assert corpus.test[0].speaker is None
    assert len(prepared(corpus, tmp_path / "cache")["dev"]) == 1


def test_common_voice_of_2017_without_its_recordings_is_refused(tmp_path: Path) -> None:
    rows = {
        f"cv-valid-{kind}.csv": FIRST + f"cv-valid-{kind}/gone.mp3,a,1,0,,,,\n" for kind in ("train", "dev", "test")
    }
    with pytest.raises(Trouble, match=r"cv-valid-train\.csv:2: expected a recording 'cv-valid-train/gone\.mp3' in "):
        importers.load(parameters("common_voice", unpacked(tmp_path, rows)))


SPONTANEOUS = "client_id\taudio_id\taudio_file\tduration_ms\tprompt_id\tprompt\ttranscription\tvotes\tsplit\n"


def spontaneous(number: int, split: str, text: str) -> str:
    return f"{'c' * 64}\t{number}\tss-en-{number}.mp3\t900\t1\tWhat is it?\t{text}\t2\t{split}\n"


def test_spontaneous_speech_is_read_by_its_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(0, "train", "Well, a b."), (1, "dev", "b"), (2, "test", "c"), (3, "train", ""), (4, "", "b")]
    table = SPONTANEOUS + "".join(spontaneous(*row) for row in rows) + "too\tfew\n"
    audios = {f"audios/ss-en-{number}.mp3": sound("a b c a b c", "MP3", 32_000) for number in range(5)}
    unpacked(tmp_path / "sps-corpus-en", {"ss-corpus-en.tsv": table, **audios})

    corpus = importers.load(parameters("common_voice", tmp_path))

    assert [(one.id, one.transcript, one.speaker) for one in corpus.train] == [("ss-en-0", "well a b", "c" * 16)]
    assert [len(corpus.dev), len(corpus.test)] == [1, 1]
    assert corpus.left_out == {"train": 1, "dev": 0, "test": 0}
    assert "recordings of train without a transcription, which are not used: 1" in capsys.readouterr().err
    assert len(prepared(corpus, tmp_path / "cache")["test"]) == 1


def test_spontaneous_speech_of_no_set_is_told_and_no_half_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = "client_id\taudio_file\tsplit\ttranscription\n"
    rows = ["0.mp3\tTrain\ta", "1.mp3\tdev\tb", "2.mp3\tdev\tcut\nhere", "3.mp3\ttest\tc"]
    odd = ["4.mp3\tvalidation\ta", "5.mp3\t\ta", "6.mp3\ttest\tso [laugh] [noise] go", "7.mp3\ttest\ton [unclear] on"]
    table = columns + "".join(f"{'c' * 64}\t{row}\n" for row in (*rows, *odd))
    audios = {f"audios/{number}.mp3": b"" for number in range(8)}
    unpacked(tmp_path / "sps", {"ss-corpus-en.tsv": table, **audios})

    corpus = importers.load(parameters("common_voice", tmp_path))

    found = {kind: [one.transcript for one in said] for kind, said in corpus.sets().items()}
    assert found == {"train": ["a"], "dev": ["b"], "test": ["c", "so go"]}
    assert corpus.left_out == {"train": 3, "dev": 0, "test": 0}
    told = capsys.readouterr().err
    assert "ss-corpus-en.tsv:7: split 'validation': expected one of train, dev, test, or nothing" in told
    assert "recordings of no set, which are not used: 1" in told
    assert "recordings of test with an unintelligible word, which are not used: 1" in told


@pytest.mark.parametrize(
    ("columns", "row"), [("client_id\tpath\tsentence", "{0}\t{1}\t{2}"), ("sentence\tclient_id\tpath", "{2}\t{0}\t{1}")]
)
def test_a_line_break_cuts_no_sentence_of_common_voice_in_any_order_of_columns(
    site: Site, tmp_path: Path, german: dict[str, str], columns: str, row: str
) -> None:
    sentences = ["Ja", "Ja\nNein", "Ja ja"]
    rows = [row.format("f" * 128, f"common_voice_de_train{number}.mp3", said) for number, said in enumerate(sentences)]
    site.files[NAME] = common_voice_archive(train="\n".join([columns, *rows]))

    corpus = importers.load(parameters("common_voice", tmp_path / "data", site, **german))

    assert [one.transcript for one in corpus.train] == ["ja", "ja ja"]
    assert corpus.left_out["train"] == 2


def test_common_voice_has_its_published_sets_in_any_language(
    site: Site, tmp_path: Path, german: dict[str, str]
) -> None:
    site.files[NAME] = common_voice_archive()

    corpus = importers.load(parameters("common_voice", tmp_path / "data", site, **german))

    assert [(one.id, one.transcript, one.speaker) for one in corpus.train] == [
        ("common_voice_de_train0", "zwölf süße äpfel groß", "f" * 16),
        ("common_voice_de_train1", "er sagte so", "f" * 16),
    ]
    items = prepared(corpus, tmp_path / "cache", Alphabet(GERMAN))
    assert [len(items[kind]) for kind in ("train", "dev", "test")] == [2, 1, 1]
    assert items["test"][0].seconds == pytest.approx(len(tone_speech("a b c a b c a b c")) / 48_000, abs=0.1)


def test_a_common_voice_archive_in_the_directory_is_unpacked(tmp_path: Path, german: dict[str, str]) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / NAME).write_bytes(common_voice_archive())

    corpus = importers.load(parameters("common_voice", tmp_path / "data", **german))

    assert len(corpus.train) == 2


def test_a_missing_common_voice_is_reported_with_its_source(tmp_path: Path, german: dict[str, str]) -> None:
    with pytest.raises(
        UsageTrouble, match=r"data: expected the archive .*https://commonvoice\.mozilla\.org/.*ds_mirror"
    ):
        importers.load(parameters("common_voice", tmp_path / "data", **german))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("client_id\tsentence\n", r"train\.tsv: no column path"),
        (HEADER + "\ta.mp3\ttext\t1\n", r"train\.tsv:2: expected client_id, path and sentence"),
        (HEADER + "f\t../a.mp3\ttext\t1\n", r"train\.tsv:2: expected client_id, path and sentence"),
    ],
)
def test_a_bad_table_of_common_voice_is_named(
    site: Site, tmp_path: Path, german: dict[str, str], table: str, said: str
) -> None:
    site.files[NAME] = common_voice_archive(train=table)

    with pytest.raises(Trouble, match=said):
        importers.load(parameters("common_voice", tmp_path / "data", site, **german))


def test_all_sets_of_common_voice_without_an_utterance_are_told(
    site: Site, tmp_path: Path, german: dict[str, str]
) -> None:
    """As in the releases of small languages."""
    site.files[NAME] = common_voice_archive(dev=HEADER, test=f"{HEADER}\n")

    with pytest.raises(Trouble) as caught:
        importers.load(parameters("common_voice", tmp_path / "data", site, **german))

    told = str(caught.value).splitlines()
    assert [line.partition(": ")[0][-8:] for line in told] == ["/dev.tsv", "test.tsv"]
    assert all(": holds no utterance: expected at least one" in line for line in told)


@pytest.mark.parametrize(
    ("odd", "count"),
    [
        ("f\tx\tJa\nNein\t2", 2),  # a line break in the sentence
        ("f\tx\tJa\tNein\t2", 1),  # a tab in it
        ("f\tcommon_voice_de_test0.mp3\tJa", 1),  # all that is used, but cut after it
        ("f\t\tJa\t2", 1),
    ],
)
def test_a_row_of_common_voice_of_another_shape_is_left_out_and_counted(
    site: Site, tmp_path: Path, german: dict[str, str], odd: str, count: int
) -> None:
    row = "f\tcommon_voice_de_test0.mp3\tJa\u2028ja, ja\rja\t2"
    site.files[NAME] = common_voice_archive(test=f"{HEADER}{odd}\r\n{row}\r\n")

    corpus = importers.load(parameters("common_voice", tmp_path / "data", site, **german))

    assert [one.transcript for one in corpus.test] == ["ja ja ja ja"]
    assert corpus.left_out == {"train": 0, "dev": 0, "test": count}


def test_a_byte_order_mark_before_a_table_of_common_voice_is_no_column(
    site: Site, tmp_path: Path, german: dict[str, str]
) -> None:
    row = "f\tcommon_voice_de_test0.mp3\tJa\t2\n"
    site.files[NAME] = common_voice_archive(test=f"\ufeff{HEADER}{row}")

    assert len(importers.load(parameters("common_voice", tmp_path / "data", site, **german)).test) == 1


def test_the_next_release_of_common_voice_is_not_used_in_silence(tmp_path: Path, german: dict[str, str]) -> None:
    place = tmp_path / "data"
    place.mkdir()
    (place / NAME).write_bytes(common_voice_archive())
    assert len(importers.load(parameters("common_voice", place, **german)).train) == 2
    row = "f\tcommon_voice_de_train0.mp3\tneu\t2\n"
    (place / NAME).write_bytes(common_voice_archive(train=HEADER + row))

    with pytest.raises(Trouble, match=r"is not the archive that .* was unpacked from"):
        importers.load(parameters("common_voice", place, **german))
    (place / NAME.removesuffix(".tar.gz")).rename(place / "release 16")
    assert [one.transcript for one in importers.load(parameters("common_voice", place, **german)).train] == ["neu"]


def test_an_alphabet_of_another_language_is_an_error_of_the_whole_set(tmp_path: Path) -> None:
    (tmp_path / "cv").mkdir()
    rows = "".join(f"f\tcommon_voice_de_train{number}.mp3\tgrüße\t1\n" for number in range(2))
    (tmp_path / "cv" / NAME).write_bytes(common_voice_archive(train=HEADER + rows))
    corpus = importers.load(parameters("common_voice", tmp_path / "cv"))

    with pytest.raises(
        Trouble, match=r"2 utterances cannot be learnt, more than 1 in 20; .*'ß' 'ü' in .*set ds_alphabet"
    ):
        prepared(corpus, tmp_path / "cache")


# AN4


def an4_archive(suffix: str = "sph", **etc: str) -> bytes:
    def speech(text: str) -> bytes:
        return tone_speech(text).astype(">i2").tobytes() if suffix == "raw" else sound(text, "NIST")

    names = ["an4_clstk/fash/an251-fash-b", "an4_clstk/mjdr/an16-mjdr-b", "an4test_clstk/fcaw/an406-fcaw-b"]
    tables = {
        "an4_train.fileids": "\n".join(names[:2]) + "\n",
        "an4_train.transcription": "<s> YES </s> (an251-fash-b)\n<s> RUBOUT G  M </s> (an16-mjdr-b)\n",
        "an4_test.fileids": f"{names[2]}\n",
        "an4_test.transcription": "GO (an406-fcaw-b)\n",
        **etc,
    }
    files: dict[str, bytes | str] = {f"an4/etc/{name}": text for name, text in tables.items()}
    return packed(files | {f"an4/wav/{name}.{suffix}": speech("a b c") for name in names})


@pytest.mark.parametrize("suffix", ["sph", "raw"])
def test_an4_has_its_official_test_set_and_eight_speakers_for_validation(
    site: Site, tmp_path: Path, suffix: str
) -> None:
    site.files["an4_sphere.tar.gz"] = an4_archive(suffix)

    corpus = importers.load(parameters("an4", tmp_path, site))

    found = {name: [(one.id, one.transcript, one.speaker) for one in said] for name, said in corpus.sets().items()}
    assert found == {
        "train": [("an251-fash-b", "yes", "fash")],
        "dev": [("an16-mjdr-b", "rubout g m", "mjdr")],
        "test": [("an406-fcaw-b", "go", "fcaw")],
    }
    (item,) = prepared(corpus, tmp_path / "cache")["test"]
    assert np.array_equal(np.load(item.mel), audio.log_mel(tone_speech("a b c").astype(np.float32)))
    assert len(an4.DEV_SPEAKERS) == 8


@pytest.mark.parametrize(
    ("etc", "said"),
    [
        ({"an4_test.transcription": "GO\n"}, r"an4_test\.transcription:1: 'GO': expected <s> TEXT </s> \(UTTERANCE\)"),
        ({"an4_test.transcription": "GO (other)\n"}, r"an4_test\.fileids:1: an4test_clstk/.*: expected its line in"),
        ({"an4_test.fileids": "an4test_clstk/x/y\n"}, r"an4_test\.fileids:1: .*: expected .*y\.sph or \.raw"),
    ],
)
def test_an4_tables_that_do_not_fit_are_named(site: Site, tmp_path: Path, etc: dict[str, str], said: str) -> None:
    site.files["an4_sphere.tar.gz"] = an4_archive(**etc)

    with pytest.raises(Trouble, match=said):
        importers.load(parameters("an4", tmp_path, site))


def test_a_row_of_an4_of_another_shape_is_left_out_and_counted(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = "<s> YES </s> (an251-fash-b)\n<s> RUBOUT G\nM </s> (an16-mjdr-b)\n"  # a line break: no text is right
    site.files["an4_sphere.tar.gz"] = an4_archive(**{"an4_train.transcription": texts})

    corpus = importers.load(parameters("an4", tmp_path, site))

    assert [one.transcript for one in corpus.train] == ["yes"]
    assert corpus.dev == ()
    assert corpus.left_out == {"train": 2, "test": 0}
    assert "an4_train.transcription:2: '<s> RUBOUT G': expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("odd", "count"),
    [
        ("<s> RUBOUT G\nM </s> (an16-mjdr-b)", 2),
        ("RUBOUT G\nM (an16-mjdr-b)", 2),  # without marks, as in the test set
        ("RUBOUT G\nM", 2),
        ("<s> </s> (an16-mjdr-b)", 1),
        ("(an16-mjdr-b)", 1),
        ("<s> RUB\0OUT </s> (an16-mjdr-b)", 1),
        ("<s> RUBOUT </s> (an16-mjdr-b)\n<s> ERASE </s> (an16-mjdr-b)", 2),
        ("<s> RUBOUT </s> (an16-mjdr-b)\n<s> </s> (an16-mjdr-b)", 2),
        ("<s> RUB\ufffdOUT </s> (an16-mjdr-b)", 1),
    ],
)
def test_no_transcript_of_an4_is_half_of_one_or_another(site: Site, tmp_path: Path, odd: str, count: int) -> None:
    texts = f"{odd}\n<s>  YES  </s>  (an251-fash-b)\n"
    names = "an4_clstk/mjdr/an16-mjdr-b\nan4_clstk/fash/an251-fash-b\n"
    fits = names if "(an16" in odd else names.partition("\n")[2]
    site.files["an4_sphere.tar.gz"] = an4_archive(**{"an4_train.transcription": texts, "an4_train.fileids": fits})

    corpus = importers.load(parameters("an4", tmp_path, site))

    assert [one.transcript for one in (*corpus.train, *corpus.dev)] == ["yes"]
    assert corpus.left_out["train"] == count


def test_a_job_fetches_its_corpus_and_trains_on_it(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "an4_sphere.tar.gz").write_bytes(an4_archive())
    job = Job(tmp_path / "logs", tmp_path / "an4")

    done = job.run(ds_importer="an4", ds_mirror_url=str(tmp_path / "mirror"), ds_epochs="1")

    assert done.returncode == 0, done.stderr
    record = job.record()
    assert record["parameters"]["data_set"]["name"] == "an4"
    assert record["parameters"]["dataset_path"] == ".../an4"
    assert [record["context"]["data"][name]["utterances"] for name in ("train", "dev", "test")] == [1, 1, 1]
    assert job.record("utterances.json")["rows"][0][:2] == ["an406-fcaw-b", "fcaw"]
    assert str(tmp_path / "mirror") not in str(record)


# what they share


@pytest.mark.parametrize("importer", ["ldc93s1", "librivox", "ted", "an4"])
def test_an_unwritable_directory_is_named(tmp_path: Path, importer: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Trouble, match=r"file/data: cannot be written: .*: set ds_dataset_path"):
        importers.load(parameters(importer, tmp_path / "file" / "data"))


def test_without_a_path_the_corpus_lies_in_the_cache(site: Site, tmp_path: Path) -> None:
    site.files["an4_sphere.tar.gz"] = an4_archive()
    given = {"ds_importer": "an4", "ds_mirror_url": site.url, "ds_cache_dir": str(tmp_path)}

    (one,) = importers.load(from_environment(given)).test

    assert one.audio == tmp_path / "datasets/an4/an4_sphere/an4/wav/an4test_clstk/fcaw/an406-fcaw-b.sph"


@pytest.mark.parametrize(
    ("letters", "published", "expected"),
    [
        (Alphabet().letters, "“Don’t stop,” said Ada—twice.", "don't stop said ada twice"),
        (" abcdeimnost", "It’s A-b; DON'T", "its a b dont"),
        (Alphabet().letters, "50% & more", "50% & more"),  # not spelled out: left out or refused later
        (" ABCDEFGO'", "Go, bad dog", "GO BAD DOG"),
        (" abcöß", "Ö ß B", "ö ß b"),
        (" αβς", "ΑΒΑΣ", "αβας"),  # the sigma at the end of a word is another letter
        (" aıiklr", "ILIK İri", "ılık iri"),
        (" aB-", "aB-a", "aB-a"),
    ],
)
def test_sentences_are_normalised_to_what_is_spoken(letters: str, published: str, expected: str) -> None:
    assert spoken(published, Alphabet(letters)) == expected


def test_every_importer_can_be_chosen(tmp_path: Path) -> None:
    for name in importers.IMPORTERS:
        assert from_environment({"ds_importer": name, "ds_dataset_path": str(tmp_path)}).importer == name
    with pytest.raises(UsageTrouble, match=", ".join(sorted(importers.IMPORTERS))):
        from_environment({"ds_importer": "?"})
