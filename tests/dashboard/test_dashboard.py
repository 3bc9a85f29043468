"""Building the site: what is written, kept and removed, and that hostile input does no harm."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import dashboard, files
from deepspeech_wer.dashboard import assets, build, site_files, site_names
from deepspeech_wer.dashboard.assets import MANIFEST, references
from deepspeech_wer.dashboard.columns import columns, differences, run_lengths, short
from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import Run
from tests.invented_runs import PROJECT, archive, done, failed, years

HOSTILE = "</script><script>alert(1)</script>\u2028\u2029<!-- &amp; `${1}`"


def script(path: Path) -> dict[str, Any]:
    """Return the globals that one of our data scripts sets: each is an assignment of JSON."""
    assignments = re.findall(r"^window\.(\w+) ?= ?(.*?);$", path.read_text("ascii"), re.DOTALL | re.MULTILINE)
    return {name: json.loads(value) for name, value in assignments}


def snapshot(site: Path) -> dict[str, tuple[bytes, int, int]]:
    files = [path for path in site.rglob("*") if path.is_file()]
    return {
        path.relative_to(site).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in files
    }


def index_js(site: Path) -> Path:
    """The file that the page opens from."""
    [path] = (site / "js").glob("index.*.js")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return archive([done(1, 0.5), failed(2), done(4, 0.45, epochs=40), done(3, None)], tmp_path / "archive")


@pytest.fixture
def site(tmp_path: Path, runs: list[Run]) -> Path:
    build(runs, tmp_path / "site", project=PROJECT)
    return tmp_path / "site"


def test_hyper_js_is_the_contract_of_2016(site: Path) -> None:
    records = script(site / "js/hyper.js")["ALL_THE_DATA"]
    assert [record["context"]["time_started"] for record in records] == sorted(
        record["context"]["time_started"] for record in records
    )
    assert [record["results"]["test_wer"] for record in records] == [
        pytest.approx(0.5),
        None,
        pytest.approx(0.45, abs=1e-4),
    ]
    for record in records:
        assert {"last_validation_wer", "last_train_wer", "test_wer"} <= set(record["results"])
        assert record["parameters"]["data_set"] == {"name": "ted"}


def test_hyper_js_has_one_record_per_line_with_the_trackers_fields(site: Path, runs: list[Run]) -> None:
    lines = (site / "js/hyper.js").read_text("ascii").splitlines()
    assert lines[0] == "window.ALL_THE_DATA = ["
    record = json.loads(lines[1].rstrip(","))
    assert record["run"]["id"] == runs[0].id
    assert record["run"]["sha"] == runs[0].merge.sha
    assert record["run"]["ordinal"] == 1


def test_failed_runs_are_hidden_from_the_page_of_2016(site: Path, runs: list[Run]) -> None:
    data = script(site / "js/hyper.js")
    assert [record["run"]["id"] for record in data["FAILED_RUNS"]] == [runs[1].id]
    assert runs[1].id not in json.dumps(data["ALL_THE_DATA"])


def test_times_with_a_zone_are_sorted_and_written_in_utc(tmp_path: Path) -> None:
    runs = archive([done(1, 0.5), done(2, 0.4)], tmp_path / "archive")
    assert runs[0].hyper
    context = {"time_started": "2030-01-01T01:00:00+02:00"}
    late = runs[0]._replace(hyper={**runs[0].hyper, "context": context})
    build([late, runs[1]], tmp_path / "site", project=PROJECT)
    records = script(tmp_path / "site/js/hyper.js")["ALL_THE_DATA"]
    assert records[1]["context"]["time_started"] == "2029-12-31T23:00:00"


def test_the_files_to_publish_are_told_as_paths_or_as_text(site: Path, runs: list[Run]) -> None:
    names = site_names(site)
    assert names[:2] == [f"runs/{runs[0].id}/hyper.json", f"runs/{runs[0].id}/out.log"]
    assert list(map(Path, names)) == site_files(site)


def test_a_site_without_runs_is_complete(tmp_path: Path) -> None:
    build([], tmp_path / "site", project=PROJECT)
    assert script(tmp_path / "site/js/hyper.js") == {"ALL_THE_DATA": [], "FAILED_RUNS": []}
    assert script(index_js(tmp_path / "site"))["WER_INDEX"]["count"] == 0
    assert site_files(tmp_path / "site")[-1] == Path("index.htm")


def test_a_site_of_failed_runs_is_complete(tmp_path: Path) -> None:
    build(archive([failed(1), failed(2)], tmp_path / "archive"), tmp_path / "site", project=PROJECT)
    index = script(index_js(tmp_path / "site"))["WER_INDEX"]
    assert index["status"]["values"] == ["timeout"]
    assert index["parameters"] == []


def test_the_index_is_in_the_order_of_history(site: Path) -> None:
    index = script(index_js(site))["WER_INDEX"]
    assert index["ordinals"] == [1, 4]  # 1, 2, 3, 4 as differences as run lengths
    assert index["test_wer"] == [50000, None, None, 45000]
    assert index["status"] == {"values": ["done", "timeout"], "codes": [0, 1, 1, 1, 0, 2]}
    assert index["details"] == [[1, "ended after 86400 s, as ds_job_timeout says"]]


def test_the_index_holds_the_union_of_all_parameters() -> None:
    late = done(2, 0.4, beam_width=500, data_set={"name": "ted", "hours": 118})
    names = [column["name"] for column in dict(columns([done(1, 0.5), late]))["parameters"]]
    assert {"beam_width", "data_set.name", "data_set.hours"} <= set(names)


def test_a_null_parameter_differs_from_a_missing_one() -> None:
    columns_ = dict(columns([done(1, 0.5, beam=None), done(2, 0.5), done(3, 0.5, beam=True), done(4, 0.5, beam=1)]))
    column = next(column for column in columns_["parameters"] if column["name"] == "beam")
    assert column == {"name": "beam", "values": [None, True, 1], "codes": [0, 1, -1, 1, 1, 1, 2, 1]}


def test_words_are_stored_only_if_they_reproduce_the_errors() -> None:
    run = done(1, 0.12345)
    assert dict(columns([run]))["words"] == [52_576, 1]
    assert run.hyper
    for errors in ({"words": 52_576}, {"words": -1, "substitutions": 1}, "many", {"words": True}, None):
        broken = {**run.hyper, "results": {**run.hyper["results"], "test_errors": errors}}
        assert dict(columns([run._replace(hyper=broken)]))["words"] == [None, 1]


def test_unusual_ids_are_kept() -> None:
    odd = done(2, 0.5)._replace(id="by-hand")
    assert dict(columns([done(1, 0.5), odd]))["ids"] == [[1, "by-hand"]]


def test_encodings() -> None:
    assert differences([5, None, 7, 6]) == [5, None, 2, -1]
    assert run_lengths([1, 1, None, 2]) == [1, 2, None, 1, 2, 1]
    assert short("a" * 200) == "a" * 200
    assert len(short("a" * 201)) < 205
    assert short("a" * 300) != short("a" * 301)


def test_an_index_of_1000_runs_takes_at_most_25_bytes_a_run(tmp_path: Path) -> None:
    build(archive(years(1000), tmp_path / "a"), tmp_path / "site", project=PROJECT)
    assert len(gzip.compress((index_js(tmp_path / "site")).read_bytes(), 6)) <= 25 * 1000


def test_the_pages_own_files_take_at_most_75_kb(site: Path) -> None:
    own = [
        path for path in assets(site / "index.htm") if path.parts[0] != "vendor" and path.name != index_js(site).name
    ]
    assert sum(len(gzip.compress((site / path).read_bytes(), 6)) for path in [Path("index.htm"), *own]) <= 75_000


def test_the_same_runs_change_nothing_on_disk(site: Path, runs: list[Run]) -> None:
    before = snapshot(site)
    build(runs, site, project=PROJECT._replace(looked_at="2024-03-02T00:00:00Z"))
    assert snapshot(site) == before


def test_a_new_run_changes_only_the_files_that_list_it(site: Path, runs: list[Run], tmp_path: Path) -> None:
    before = snapshot(site)
    more = [*runs, *archive([done(5, 0.41)], tmp_path / "archive")]
    build(more, site, project=PROJECT._replace(looked_at="2024-03-02T00:00:00Z"))
    after = snapshot(site)
    changed = {name for name in before if name in after and before[name] != after[name]}
    [old_index] = before.keys() - after.keys()
    assert old_index.startswith("js/index.")
    assert changed == {"js/hyper.js", "js/merges.js", "index.htm", ".manifest.json", "badge.svg"}
    assert {name for name in after if name not in before and more[-1].id not in name} == {
        index_js(site).relative_to(site).as_posix()
    }
    assert script(index_js(site))["WER_LOOKED_AT"] == "2024-03-02T00:00:00Z"


def test_files_of_removed_runs_are_deleted_and_foreign_files_kept(site: Path, runs: list[Run]) -> None:
    (site / "robots.txt").write_text("")
    (site / "runs" / runs[0].id / "note.txt").write_text("mine")
    build(runs[1:], site, project=PROJECT)
    assert not (site / "runs" / f"{runs[0].id}.js").exists()
    assert [path.name for path in (site / "runs" / runs[0].id).iterdir()] == ["note.txt"]
    assert (site / "robots.txt").exists()
    build(runs[2:], site, project=PROJECT)
    assert not (site / "runs" / runs[1].id).exists()


def test_a_damaged_manifest_causes_a_full_build(site: Path, runs: list[Run]) -> None:
    before = {name: file[0] for name, file in snapshot(site).items()}
    (site / ".manifest.json").write_text('{"version": 2, "runs"')
    build(runs, site, project=PROJECT)
    assert {name: file[0] for name, file in snapshot(site).items()} == before


@pytest.mark.parametrize(
    "wrong", ["[]", "{}", '{"version": 2, "page": [], "runs": {"a": {}}}', '{"version": 1, "runs": []}']
)
def test_a_manifest_of_another_shape_causes_a_full_build(site: Path, runs: list[Run], wrong: str) -> None:
    before = {name: file[0] for name, file in snapshot(site).items()}
    (site / MANIFEST).write_text(wrong)
    build(runs, site, project=PROJECT)
    assert {name: file[0] for name, file in snapshot(site).items()} == before


@pytest.mark.parametrize("version", [1, 2])
def test_the_manifest_of_an_earlier_release_is_taken_over(site: Path, runs: list[Run], version: int) -> None:
    """Nothing is built anew, and what left the archive is removed."""
    before, listed = snapshot(site), site_names(site)
    manifest = json.loads((site / MANIFEST).read_text())
    names = manifest.pop("names").split("/")
    noted: dict[str, Any] = dict(zip(names, manifest.pop("runs").split("\n"), strict=True))
    if version == 1:
        pairs = {name: one.partition(" ") for name, one in noted.items()}
        noted = {name: {"stamp": stamp, "files": names.split("/")} for name, (names, _, stamp) in pairs.items()}
    former = {**manifest, "version": version, "runs": noted}
    (site / MANIFEST).write_text(json.dumps(former))
    assert site_names(site) == listed
    build(runs, site, project=PROJECT)
    after = snapshot(site)
    assert {name: file for name, file in after.items() if name != str(MANIFEST)} == {
        name: file for name, file in before.items() if name != str(MANIFEST)
    }
    assert after[str(MANIFEST)][0] == before[str(MANIFEST)][0]
    (site / MANIFEST).write_text(json.dumps(former))
    build(runs[1:], site, project=PROJECT)
    assert not (site / "runs" / runs[0].id).exists()
    assert not (site / "runs" / f"{runs[0].id}.js").exists()


def test_a_removed_site_is_built_again(site: Path, runs: list[Run]) -> None:
    (site / "js/hyper.js").unlink()
    (site / "runs" / f"{runs[0].id}.js").unlink()
    build(runs, site, project=PROJECT)
    assert (site / "js/hyper.js").exists()
    assert (site / "runs" / f"{runs[0].id}.js").exists()


def test_a_missing_file_of_a_run_is_restored(site: Path, runs: list[Run]) -> None:
    before = {name: file[0] for name, file in snapshot(site).items()}
    (site / "runs" / runs[0].id / "hyper.json").unlink()
    shutil.rmtree(site / "runs" / runs[1].id)
    build(runs, site, project=PROJECT)
    assert {name: file[0] for name, file in snapshot(site).items()} == before


def test_the_runs_own_files_are_byte_for_byte_the_archives(site: Path, runs: list[Run]) -> None:
    published = site / "runs" / runs[0].id
    assert (published / "hyper.json").read_bytes() == (runs[0].directory / "hyper.json").read_bytes()
    assert not (published / "run.json").exists()
    assert not any(path.is_symlink() for path in site.rglob("*"))


def test_a_job_cannot_publish_a_file_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "id_ed25519"
    secret.write_text("PRIVATE KEY")
    [run] = archive([done(1, 0.5)], tmp_path / "archive")
    (run.directory / "utterances.json").symlink_to(secret)
    (run.directory / "out.log").unlink()
    os.mkfifo(run.directory / "out.log")
    build([run], tmp_path / "site", project=PROJECT)
    assert sorted(path.name for path in (tmp_path / "site/runs" / run.id).iterdir()) == [
        "err.log",
        "history.json",
        "hyper.json",
    ]


def test_hostile_text_is_not_markup_in_a_script(tmp_path: Path) -> None:
    run = done(1, 0.5, subject=HOSTILE, **{HOSTILE: HOSTILE, "__proto__": "x", "__x": 1})
    build(
        archive([run], tmp_path / "archive"),
        tmp_path / "site",
        project=PROJECT._replace(name=HOSTILE, url="javascript:alert(1)"),
    )
    data = [tmp_path / "site/js/hyper.js", tmp_path / "site/js/merges.js", index_js(tmp_path / "site")]
    for path in [*data, *(tmp_path / "site/runs").glob("*.js")]:
        text = path.read_text("ascii")
        assert "<" not in text
        assert ">" not in text
    record = script(tmp_path / "site/js/hyper.js")["ALL_THE_DATA"][0]
    assert record["parameters"][HOSTILE] == HOSTILE
    assert record["run"]["subject"] == HOSTILE
    assert script(index_js(tmp_path / "site"))["WER_INDEX"]["project"]["url"] is None


def test_a_huge_parameter_does_not_bloat_the_index(tmp_path: Path) -> None:
    many = {f"p{n}": n for n in range(5000)} | {"text": "x" * 10**6, "n" * 10**5: 10**300, "big": 2**60}
    build(archive([done(1, 0.5, **many)], tmp_path / "archive"), tmp_path / "site", project=PROJECT)
    assert (index_js(tmp_path / "site")).stat().st_size < 100_000


@pytest.mark.parametrize(
    "history", [b"", b"[", b"{}", b"[[]]", b"7", b'[{"epoch": "1"}]', b"[" * 10**5, b'{"epochs": {"a": 1}}']
)
def test_an_unusable_history_is_only_left_out(tmp_path: Path, history: bytes) -> None:
    [run] = archive([done(1, 0.5)], tmp_path / "archive")
    (run.directory / "history.json").write_bytes(history)
    build([run], tmp_path / "site", project=PROJECT)
    assert detail(tmp_path / "site", run)["epochs"] is None


def test_nan_in_a_history_is_a_gap(tmp_path: Path) -> None:
    [run] = archive([done(1, 0.5)], tmp_path / "archive")
    (run.directory / "history.json").write_text('[{"epoch": 1, "train_loss": NaN}, {"epoch": 2, "train_loss": 3.5}]')
    build([run], tmp_path / "site", project=PROJECT)
    assert detail(tmp_path / "site", run)["epochs"] == {"names": ["epoch", "train_loss"], "rows": [[1, None], [2, 3.5]]}


def test_the_end_of_a_log_reads_as_on_a_terminal(tmp_path: Path) -> None:
    [run] = archive([failed(1)], tmp_path / "archive")
    text = b"".join(b"line %d\n" % n for n in range(5000)) + b"\x1b[31mred\x1b[0m\r 50%\r100%\n\xff\xfe last\r\n"
    (run.directory / "err.log").write_bytes(text)
    build([run], tmp_path / "site", project=PROJECT)
    log = detail(tmp_path / "site", run)["logs"][1]
    assert log["text"].endswith("line 4999\n100%\n\ufffd\ufffd last")
    assert log["text"].startswith("line ")
    assert log["bytes"] == len(text)
    assert len(log["text"]) < 16_100


def detail(site: Path, run: Run) -> dict[str, Any]:
    text = (site / "runs" / f"{run.id}.js").read_text("ascii")
    parsed: dict[str, Any] = json.loads(text.removeprefix("wer.run(").removesuffix(");\n"))
    return parsed


def test_everything_is_published_index_last(site: Path, runs: list[Run]) -> None:
    listed = site_files(site)
    assert listed[-3:] == [Path("js/hyper.js"), Path("js/merges.js"), Path("index.htm")]
    assert len(listed) == len(set(listed))
    assert index_js(site).relative_to(site) in listed
    everything = {path.relative_to(site) for path in site.rglob("*") if path.is_file()}
    assert everything - set(listed) == {Path(".manifest.json"), Path("vendor/README.md")}
    assert listed.index(Path("runs", runs[0].id, "hyper.json")) < listed.index(Path("runs", f"{runs[0].id}.js"))


def test_what_the_page_loads_has_its_contents_hash_in_its_name(site: Path) -> None:
    index = site / "index.htm"
    page = {address: Path(path) for address, path, is_loaded in references(index.read_bytes(), index) if is_loaded}
    assert {re.sub(r"\.[0-9a-f]{8}(?=\.\w+$)", "", str(path)) for path in page.values()} == {
        *("css/icon.svg", "css/page.css", "vendor/uplot/uPlot.min.css", "vendor/uplot/uPlot.iife.min.js"),
        *("js/parts/theme.js", "js/index.js", "js/page.js"),
    }
    for path in page.values():
        assert path.suffixes[-2] == f".{hashlib.sha256((site / path).read_bytes()).hexdigest()[:8]}"


def test_other_data_gets_another_name_and_the_old_file_goes(site: Path, runs: list[Run], tmp_path: Path) -> None:
    before = index_js(site)
    build([*runs, *archive([done(9, 0.3)], tmp_path / "archive")], site, project=PROJECT)
    assert index_js(site) != before
    assert index_js(site).name in (site / "index.htm").read_text()


def test_a_build_that_was_cut_short_leaves_nothing_behind(
    site: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name == "index.htm":
            raise OSError(errno.ENOSPC, "no space left")
        files.write_atomically(path, data)

    monkeypatch.setattr(dashboard.site, "write_atomically", full)
    with pytest.raises(OSError, match="no space"):
        build(runs[1:], site, project=PROJECT)
    monkeypatch.undo()
    assert len(list((site / "js").glob("index.*.js"))) == 2
    build(runs[2:], site, project=PROJECT)
    assert index_js(site).name in (site / "index.htm").read_text()


def test_a_site_of_earlier_versions_loses_its_files_of_fixed_names(site: Path, runs: list[Run]) -> None:
    manifest = json.loads((site / ".manifest.json").read_text())
    (site / ".manifest.json").write_text(json.dumps({**manifest, "page": ["js/app.js", "js/theme.js"]}))
    for name in ("index.js", "app.js", "theme.js"):
        (site / "js" / name).write_text("")
    build(runs, site, project=PROJECT)
    assert not {"index.js", "app.js", "theme.js"} & {path.name for path in (site / "js").iterdir()}


def test_assets_are_the_local_files_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "index.htm"
    page.write_text(
        """<link href="css/a%20b.css?1"><link rel="x"><script src='js/a.js#x'></script>
        <script>1</script><img src="a.png">
        <img src="data:image/png;base64,AA"><script src="https://cdn.example/x.js"></script>
        <script src="//cdn.example/x.js"></script><img src=""><script src="js/a.js"></script><a href="other.htm">"""
    )
    assert assets(page) == [Path("css/a b.css"), Path("js/a.js"), Path("a.png")]


@pytest.mark.parametrize("address", ["../secret", "/etc/passwd", "js/../../x", "%2e%2e/x"])
def test_an_asset_outside_the_site_is_refused(tmp_path: Path, address: str) -> None:
    (tmp_path / "index.htm").write_text(f'<img src="{address}">')
    with pytest.raises(Trouble, match="outside of the site"):
        assets(tmp_path / "index.htm")


def test_a_site_that_was_not_built_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=r"no index\.htm: expected a built site"):
        site_files(tmp_path)


def test_what_is_noted_of_the_page_is_what_it_names(site: Path, runs: list[Run]) -> None:
    """Without the note, and with that of another page, index.htm is looked through again."""
    noted = site_names(site)
    content = (site / MANIFEST).read_bytes()
    manifest = json.loads(content)
    (site / MANIFEST).write_text(json.dumps({**manifest, "index": "00000000", "assets": ["wrong"]}))
    assert site_names(site) == noted
    names = ("version", "page", "names", "runs", "sets")
    (site / MANIFEST).write_text(json.dumps({name: manifest[name] for name in names}))
    assert site_names(site) == noted
    build(runs, site, project=PROJECT)
    assert (site / MANIFEST).read_bytes() == content
    (site / "index.htm").write_text('<script src="js/load.js"></script>')
    assert "js/load.js" in site_names(site)
