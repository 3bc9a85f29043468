"""The house rules of the design, held."""

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

# Each module may import those of lower floors only; modules of one floor do not import each other.
FLOORS = (
    ("errors",),
    ("setting_types", "cache", "processes", "files", "records", "progress", "mounts"),
    ("lock", "hyper", "wer", "settings", "joblog", "gpu", "remote"),
    ("mirror", "merges", "workspace", "job", "journal", "archive", "dashboard", "publish", "notify", "training"),
    ("run_merge", "show_site", "preview"),
    ("automation", "check"),
    ("demo",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
UPWARD = {
    ("workspace", "mirror"),  # both are git: the checkout is cloned from the mirror, through its door to git
}
ONLY_IN = {
    "pysftp": "publish",
    "paramiko": "publish",
    "tensorflow": "training",
    "git": "merges",
    "xdg": "cache settings training",
    "asyncssh": "demo",
}
HEAVY = ("git", "tensorflow", "numpy", "paramiko", "pysftp", "requests", "bs4", "nbconvert")


def imported_by(path: Path) -> list[str]:
    """The full name of everything that a module imports, wherever in it."""
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
    """(room, imported name) of every import in the package; a room is a module or a sub-package."""
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), name) for path in MODULES for name in imported_by(path)
    ]


def test_every_room_has_a_floor() -> None:
    rooms = {
        path.name.removesuffix(".py")
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == {name for floor in FLOORS for name in floor}


def test_imports_point_down() -> None:
    floor_of = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    wrong = []
    for room, name in imports():
        parts = name.split(".")
        if parts[0] != "deepspeech_wer" or room == "__init__" or len(parts) < 2 or parts[1] not in floor_of:
            continue
        other = parts[1]
        if other != room and (room, other) not in UPWARD and floor_of[other] >= floor_of[room]:
            wrong.append(f"{room} imports {other}")
    assert wrong == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES
    }
    graph = {
        name: {one for full in imported_by(path) for one in (full, full.rpartition(".")[0]) if one in modules} - {name}
        for name, path in modules.items()
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names them


@pytest.mark.parametrize(("library", "rooms"), ONLY_IN.items())
def test_a_library_has_its_room(library: str, rooms: str) -> None:
    assert {room for room, name in imports() if name.split(".")[0] == library} <= set(rooms.split())


def test_only_settings_and_the_training_read_the_environment() -> None:
    readers = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        if "os.environ" in text or "getenv" in text:
            readers.add(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    assert readers <= {"settings", "training"}


def test_the_start_is_light() -> None:
    code = "import sys, deepspeech_wer.cli, deepspeech_wer.automation; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(HEAVY)


def test_a_busy_tick_loads_next_to_nothing() -> None:
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
