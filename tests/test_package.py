"""The wheel and the sdist: built from what is committed, installed into a clean environment, and used from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import git
import pytest
import setuptools

from deepspeech_wer import __version__

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta as b; print(b.build_{kind}(sys.argv[1]))"


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8", **variables}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is made from it."""
    if int(setuptools.__version__.partition(".")[0]) < 77:
        pytest.skip(f"needs setuptools 77 or newer, found {setuptools.__version__}: bin/install test")
    place = tmp_path_factory.mktemp("build")
    tree, out = place / "tree", place / "out"
    out.mkdir()
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    run(sys.executable, "-W", "ignore", "-c", BUILD.format(kind="sdist"), out, cwd=tree)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(place / "unpacked", filter="data")
    (unpacked,) = (place / "unpacked").iterdir()
    run(sys.executable, "-W", "ignore", "-c", BUILD.format(kind="wheel"), out, cwd=unpacked)
    (wheel,) = out.glob("*.whl")
    return sdist, wheel


def test_everything_of_the_package_is_in_both(built: tuple[Path, Path]) -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "deepspeech_wer"], capture_output=True, text=True, check=True
    )
    committed = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    assert {
        "deepspeech_wer/website/index.htm",
        "deepspeech_wer/training/DeepSpeech.ipynb",
        "deepspeech_wer/schemas/hyper.json",
        "deepspeech_wer/systemd/tick.service",
    } <= committed
    with zipfile.ZipFile(built[1]) as wheel:
        inside = set(wheel.namelist())
    assert committed - inside == set()
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert committed - names == set()
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_version_comes_from_one_place(built: tuple[Path, Path]) -> None:
    assert [path.name for path in built] == [
        f"deepspeech_wer-{__version__}.tar.gz",
        f"deepspeech_wer-{__version__}-py3-none-any.whl",
    ]
    assert f'"{__version__}"' not in (ROOT / "pyproject.toml").read_text("utf-8")


def test_it_works_from_a_clean_environment(built: tuple[Path, Path], tmp_path: Path) -> None:
    """The dependencies are those of this environment: no network is needed."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", built[1]]
    run(*command, cwd=tmp_path)
    installed = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (installed / "dependencies.pth").write_text(f"{Path(git.__file__).parents[1]}\n")
    program = tmp_path / "venv" / "bin" / "deepspeech-wer"
    assert run(program, "--version", cwd=tmp_path) == f"deepspeech-wer {__version__}\n"
    where = run(python, "-P", "-c", "import deepspeech_wer as d; print(d.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(tmp_path / "venv")
    assert '"title": "hyper.json"' in run(program, "schema", "hyper", cwd=tmp_path)
    run(program, "build", cwd=tmp_path, ds_repo_url="/nowhere")
    site = tmp_path / ".local/share/deepspeech_wer/site"
    assert (site / "index.htm").exists()
    assert (site / "js" / "hyper.js").exists()
