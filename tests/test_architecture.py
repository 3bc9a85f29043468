"""Checks the rules of docs/development.md."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deepspeech_wer"
MODULES = sorted(PACKAGE.rglob("*.py"))

# The floors of each package, lowest first. A module imports only from lower floors of its package, never from its own.
# There are no exceptions.
FLOORS: dict[str, tuple[str, ...]] = {
    "": (
        "account archive_order clock errors exit_codes files job_contract places records text variables wer",
        "backlog checkpoints delta derived hyper logging_setup machine room verdicts versions xdg_directories",
        "archive_record configuration data_lock decision_files kept_log old_records run_table sftp training",
        "archive journal",
        "archive_store built dashboard identity jobs publish repository",
        "demo heartbeat import_records judging merge_run notify read_back showing",
        "backlog_inputs build_site team",
        "update_site",
        "automation",
        "commands",
        "cli",
        "__main__",
    ),
    "commands": (
        "alignment crontab finding locked man progress schema status_record",
        "check_page check_tools systemd",
        "check check_job import_old overview prune site verdicts",
        "inspect",
        "act compare",
        "parser",
    ),
    "configuration": (
        "env_file misspelt setting_types",
        "git_urls",
        "environment settings",
    ),
    "machine": (
        "host known_hosts prctl processes signals ssh_keygen",
        "lock",
    ),
    "dashboard": (
        "bundle columns gpu_charts gpu_usage kept_month large literal logs preview project spliced",
        "badge changes details heard hyper_js judged masked_json news",
        "feed scripts",
        "assets kept",
        "glance site",
        "overview",
    ),
    "demo": ("place", "sample sftp_server", "cycle"),
    "jobs": (
        "gpu group guards limit output sandbox slurm_client work",
        "claim memory outcome progress",
        "full_disk runner script",
        "supervisor",
        "local slurm",
        "node probe runners",
    ),
    "judging": ("remembered standing", "blame draws", "kept_scores verdict_file", "calibrating comparing", "pairs"),
    "merge_run": (
        "bench unfinished",
        "archiving beginning ended held leftovers",
        "attempt",
        "one_by_one side_by_side",
    ),
    "notify": ("ledger message", "facts http", "alarm statuses webhook", "github gitlab", "channels"),
    "publish": (
        "plan",
        "report sources web_root",
        "survey web_root_lock",
        "upload",
        "publisher",
    ),
    "repository": ("access", "git", "evidence", "history mirror", "checkout"),
    "sftp": ("keys pipeline", "connection files"),
    "training": (
        "arrays checkpoint cluster corpus epochs launch ogg outputs parameter_types quiet source text wav",
        "containers",
        "audio csv_rows curves hashes parameters summaries threads",
        "alignment sound workers",
        "confidence patience spans transfer",
        "__main__ decoders doubts importers lm",
        "dataset",
        "acoustics transcribe",
        "batches data",
        "network",
        "decoding evaluate export restored",
        "board measure results train word_times",
    ),
    "training/network": ("ctc cudnn devices lstm mixed optimizer", "lookahead", "model"),
    "training/sound": ("augment band causal effects", "noises"),
    "training/lm": ("arpa", "free language ngram", "beam", "weights"),
    "training/transcribe": ("recogniser", "streaming", "carried details", "transcriber", "__main__"),
    "training/importers": ("csv_table tools", "an4 common_voice ldc93s1 librivox synthetic ted"),
    "training/importers/tools": ("directories download espeak letters lines", "transcripts unpack"),
    "verdicts": (
        "edits findings listed noise series steps student utterance_file",
        "intervals levels plan",
        "calibration utterance_scores window",
        "accused paired recorded recovery",
        "told walk",
        "wording",
        "judge",
        "packed sets",
    ),
}
ONLY_IN = {
    "pysftp": "sftp",
    "paramiko": "sftp",
    "cryptography": "sftp",
    "tensorflow": "training",
    "git": "repository",
    "xdg": "configuration training xdg_directories",
    "asyncssh": "demo",
}
HEAVY = ("git", "kaldialign", "tensorflow", "numpy", "paramiko", "pysftp", "requests", "bs4", "nbconvert")


def imported_by(path: Path) -> list[str]:
    """Return the full name of everything that a module imports, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*base, *filter(None, [node.module])))
            found += [f"{start}.{alias.name}" for alias in node.names]
    return found


def imports() -> list[tuple[str, str]]:
    """Return (room, imported name) of every import in the package. A room is a module or a sub-package."""
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), name) for path in MODULES for name in imported_by(path)
    ]


def test_every_package_is_in_the_table() -> None:
    packages = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")}
    assert packages - {"."} == FLOORS.keys() - {""}


@pytest.mark.parametrize("package", FLOORS)
def test_every_module_is_in_the_table(package: str) -> None:
    rooms = {
        path.name.removesuffix(".py")
        for path in (PACKAGE / package).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == {room for floor in FLOORS[package] for room in floor.split()}


@pytest.mark.parametrize("package", FLOORS)
def test_imports_point_down(package: str) -> None:
    floor_of = {room: number for number, floor in enumerate(FLOORS[package]) for room in floor.split()}
    start = ".".join(["deepspeech_wer", *filter(None, package.split("/"))]) + "."
    wrong = []
    for path in (PACKAGE / package).rglob("*.py"):
        room = path.relative_to(PACKAGE / package).parts[0].removesuffix(".py")
        for name in imported_by(path):
            other = name.removeprefix(start).split(".")[0] if name.startswith(start) else None
            if room in floor_of and other in floor_of and other != room and floor_of[other] >= floor_of[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_there_are_no_import_cycles() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES
    }
    graph = {
        name: {one for full in imported_by(path) for one in (full, full.rpartition(".")[0]) if one in modules} - {name}
        for name, path in modules.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle


@pytest.mark.parametrize(("library", "rooms"), ONLY_IN.items())
def test_a_library_is_imported_in_one_place(library: str, rooms: str) -> None:
    assert {room for room, name in imports() if name.split(".")[0] == library} <= set(rooms.split())


def test_only_a_few_rooms_read_the_environment() -> None:
    readers = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        if "os.environ" in text or "getenv" in text:
            readers.add(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    assert readers <= {"configuration", "training"}


def test_start_up_loads_no_heavy_library() -> None:
    code = "import sys, deepspeech_wer.cli, deepspeech_wer.automation; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(HEAVY)


def test_a_busy_tick_loads_almost_nothing() -> None:
    code = "import sys; before = set(sys.modules); import deepspeech_wer.cli; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded <= {
        "deepspeech_wer",
        "fcntl",
        "time",
        "signal",
        "enum",
        "types",
        "operator",
        "functools",
        "collections",
        "keyword",
        "reprlib",
        "itertools",
        "_collections",
        "_functools",
        "_operator",
        "__future__",
        "errno",
        "select",
        "xdg",
    }


def test_the_top_level_is_what_the_readme_says() -> None:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True).stdout
    top = {name.split("/")[0] for name in listed.splitlines()}
    assert top <= {
        "deepspeech_wer",
        "bin",
        "tests",
        "docs",
        ".ci",
        "pyproject.toml",
        "README.md",
        "crontab.example",
        "LICENSE",
        ".gitignore",
        "CHANGELOG.md",
    }
