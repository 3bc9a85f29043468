"""What the user of a job has set for other work, in variables and files, must not reach the training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tone_corpus import SCRIPT, Job, random_texts, write_corpus

from deepspeech_wer.training import parameters, results

TINY = {"ds_epochs": "1", "ds_wer_sha": "a" * 40}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A corpus, and what a training on it measures."""
    place = tmp_path_factory.mktemp("undisturbed")
    write_corpus(place / "tones", random_texts("abc", train=16, dev=2, test=4))
    job = Job(place / "logs", place / "tones")
    done = job.run(**TINY)
    assert done.returncode == 0, done.stderr
    return place / "tones", figures(job)


def figures(job: Job) -> Any:
    names = ("test_wer", "test_cer", "test_loss", "last_validation_wer")
    return [job.record()["results"][name] for name in names], job.record()["context"]["machine"]["threads"]


def decoy(directory: Path, *modules: str) -> str:
    """A directory of modules that end every program that imports them."""
    directory.mkdir(parents=True)
    for name in modules:
        (directory / f"{name}.py").write_text(f"raise SystemExit('{name} of other work')\n")
    return str(directory)


def test_variables_set_for_other_work_change_nothing(undisturbed: tuple[Path, Any], tmp_path: Path) -> None:
    corpus, expected = undisturbed
    (tmp_path / "start").write_text("echo greeting; exit 7\n")
    job = Job(tmp_path / "logs", corpus)

    done = job.run(
        **TINY,
        PYTHONPATH=decoy(tmp_path / "modules", "numpy", "traitlets", "sitecustomize", "soundfile"),
        PYTHONHOME=str(tmp_path),
        PYTHONWARNINGS="error",
        PYTHONOPTIMIZE="2",
        PYTHONIOENCODING="ascii:strict",
        PYTHONINSPECT="1",
        BASH_ENV=str(tmp_path / "start"),
        SHELLOPTS="noexec",
        TF_USE_LEGACY_KERAS="1",
        TF_ENABLE_ONEDNN_OPTS="no number",
        TF_XLA_FLAGS="--tf_xla_auto_jit=2",
        XLA_FLAGS="--no_such_flag",
        KERAS_BACKEND="theano",
        OMP_NUM_THREADS="many",
        OMP_WAIT_POLICY="active",
        OMP_PROC_BIND="nowhere",
        OMP_PLACES="{0,x}",
        KMP_AFFINITY="rubbish",
        OPENBLAS_NUM_THREADS="-3",
        TF_CPP_MIN_LOG_LEVEL="loud",
        CUDA_VISIBLE_DEVICES="x",
        KERAS_HOME=str(tmp_path / "start"),
        MPLBACKEND="Qt5Agg",
        MATPLOTLIBRC=str(tmp_path / "start"),
        PYTHONHASHSEED="rubbish",
        POSIXLY_CORRECT="1",
        LC_NUMERIC="de_DE.UTF-8",
        TQDM_MININTERVAL="often",
        JUPYTER_PATH=str(tmp_path),
        JUPYTER_CONFIG_DIR=str(tmp_path),
        LC_ALL="tr_TR.ISO-8859-9",
        LANGUAGE="tr",
    )

    assert done.returncode == 0, done.stderr
    assert figures(job) == expected
    assert "greeting" not in done.stdout


DROPS_ALL_CODE = (
    "c = get_config()\nc.TemplateExporter.exclude_input = True\nc.TemplateExporter.exclude_code_cell = True\n"
)


def test_configuration_files_in_the_home_and_the_working_directory_change_nothing(
    undisturbed: tuple[Path, Any], sealed: Path, tmp_path: Path
) -> None:
    corpus, expected = undisturbed
    for name, text in {
        ".jupyter/jupyter_nbconvert_config.py": DROPS_ALL_CODE,
        ".jupyter/jupyter_config.json": json.dumps({"NbConvertApp": {"export_format": "html"}}),
        ".ipython/profile_default/startup/00.py": "raise SystemExit(9)\n",
        ".local/share/jupyter/nbconvert/templates/script/conf.json": "{",
        ".local/share/jupyter/nbconvert/templates/python/index.py.j2": "{{ no_such",
        ".keras/keras.json": '{"floatx": "float128", "epsilon": 1, "backend": "cntk"}',
        ".config/matplotlib/matplotlibrc": "backend: no such",
        ".gitconfig": "[user\n",
    }.items():
        (sealed / name).parent.mkdir(parents=True, exist_ok=True)
        (sealed / name).write_text(text)
    here = Path(decoy(tmp_path / "here", "numpy", "nbconvert", "jupyter_nbconvert_config"))
    job = replace(Job(tmp_path / "logs", corpus), cwd=here)

    done = job.run(**TINY)

    assert done.returncode == 0, done.stderr
    assert figures(job) == expected


def test_directories_that_are_gone_or_relative_are_not_used(
    undisturbed: tuple[Path, Any], sealed: Path, tmp_path: Path
) -> None:
    corpus, expected = undisturbed
    job = replace(Job(tmp_path / "logs", corpus), cwd=tmp_path)

    done = job.run(**TINY, TMPDIR=str(tmp_path / "gone"), XDG_CACHE_HOME="relative", CDPATH=str(tmp_path))

    assert done.returncode == 0, done.stderr
    assert figures(job) == expected
    assert f"TMPDIR={tmp_path}/gone: No such file or directory: taking /tmp" in done.stderr
    assert not (tmp_path / "relative").exists()
    assert (sealed / ".cache" / "deepspeech_wer" / "training" / "features").is_dir()


def test_a_full_or_relative_temporary_directory_is_no_obstacle(undisturbed: tuple[Path, Any], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "relative").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path / "full"], check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    try:
        (tmp_path / "full" / "text").write_bytes(bytes(65536))
        full, relative = (
            replace(Job(tmp_path / name, undisturbed[0]), cwd=tmp_path).run(**TINY, TMPDIR=place)
            for name, place in (("a", str(tmp_path / "full")), ("b", "relative"))
        )
        left = list((tmp_path / "full").iterdir())
    finally:
        subprocess.run(["umount", tmp_path / "full"], check=False)

    assert (full.returncode, relative.returncode) == (0, 0), full.stderr + relative.stderr
    assert f"TMPDIR={tmp_path}/full: No space left on device: taking /tmp" in full.stderr
    assert "TMPDIR" not in relative.stderr
    assert [path.name for path in left] == ["text"]


@pytest.mark.parametrize("lacking", ["mktemp", "head"])
def test_no_room_for_the_script_is_told_in_one_line(tmp_path: Path, lacking: str) -> None:
    (tmp_path / lacking).write_text('#!/bin/sh\necho "it: cannot write: No space left on device" >&2\nexit 1\n')
    (tmp_path / lacking).chmod(0o755)

    done = Job(tmp_path / "logs", tmp_path).run(TMPDIR="", PATH=f"{tmp_path}:{os.environ['PATH']}")

    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line == (
        "run-wer-automation.sh: /tmp: No space left on device: make room there, or set TMPDIR to a directory that can "
        "be written"
    )


def test_a_umask_that_takes_the_user_s_own_rights_hinders_nothing(
    undisturbed: tuple[Path, Any], tmp_path: Path
) -> None:
    corpus, expected = undisturbed
    (tmp_path / "job").write_text(f'#!/bin/sh\numask 777\nexec "{SCRIPT}" "$@"\n')
    (tmp_path / "job").chmod(0o700)
    job = Job(tmp_path / "logs", corpus, script=tmp_path / "job")

    done = job.run("--checkpoint_dir", str(tmp_path / "checkpoints"), **TINY, FUNCNEST="1")

    assert done.returncode == 0, done.stderr
    assert figures(job) == expected
    made = [tmp_path / "logs", *tmp_path.glob("logs/**/*"), *tmp_path.glob("checkpoints/**/*")]
    assert {path.name: oct(path.stat().st_mode) for path in made if not path.stat().st_mode & 0o400} == {}


@pytest.mark.parametrize("place", ["PYTHONPATH", "home"])
def test_the_users_own_modules_are_used_where_only_they_hold_tensorflow(
    undisturbed: tuple[Path, Any], sealed: Path, tmp_path: Path, place: str
) -> None:
    corpus, expected = undisturbed
    bare = tmp_path / "bare"
    access = "--system-site-packages" if place == "home" else "--without-pip"  # the former enables those in the home
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", access, str(bare)], check=True)
    there = [path for path in sys.path if path.endswith("site-packages")]
    if place == "home":
        own = sealed / ".local" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
        own.mkdir(parents=True)
        (own / "there.pth").write_text("\n".join(there))
    job = Job(tmp_path / "logs", corpus)
    path = {"PYTHONPATH": ":".join(there)} if place == "PYTHONPATH" else {}

    done = job.run(**TINY, **path, ds_python=str(bare / "bin" / "python"))

    assert done.returncode == 0, done.stderr
    assert figures(job) == expected


def test_letters_that_the_locale_lacks_are_trained_and_shown(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", random_texts(["ά", "ж"], train=8, dev=2, test=2))
    (tmp_path / "alphabet.txt").write_text(" \nά\nж\n", "utf-8")
    job = Job(tmp_path / "logs", corpus)

    done = job.run(**TINY, ds_alphabet=str(tmp_path / "alphabet.txt"), LANG="C", LC_ALL="C", PYTHONUTF8="0")

    assert done.returncode == 0, done.stderr
    assert " - source: '" in done.stdout
    assert ("ά" in done.stdout) or ("ж" in done.stdout)
    assert job.record()["results"]["test_wer"] is not None


def test_an_output_that_cannot_be_written_at_the_end_loses_no_result(job: Job) -> None:
    line = "done = len([1 for line in iter(sys.stdin.readline, '') if line.startswith('epoch')])"
    reader = [sys.executable, "-c", f"import sys\n{line.replace('len([', 'next((').replace('])', '))')}"]

    with subprocess.Popen(reader, stdin=subprocess.PIPE) as leaves:  # as `| head` does, after the first epoch
        done = subprocess.run(
            job.command(), env=job.environment(**TINY), stdout=leaves.stdin, stderr=subprocess.PIPE, check=False
        )

    assert done.returncode == 0, done.stderr
    assert job.record()["results"]["test_wer"] is not None


def test_a_directory_whose_name_is_no_text_loses_no_result(job: Job, tmp_path: Path) -> None:
    done = job.run("--checkpoint_dir", str(tmp_path / "caf\udce9"), **TINY)

    assert done.returncode == 0, done.stderr
    assert job.record()["parameters"]["checkpoint_dir"] == ".../caf?"


def test_the_commit_is_known_despite_a_slip_in_the_configuration_of_git(sealed: Path) -> None:
    (sealed / ".gitconfig").write_text("[user\n")

    assert len(results.git_hash(parameters.from_environment({}))) == 40


def test_a_job_in_which_nothing_was_trained_fails(tmp_path: Path, sealed: Path) -> None:
    for number, source in enumerate(("", "raise SystemExit", "import sys; sys.exit(0)")):
        script = tmp_path / f"{number}.py"
        script.write_text(source)
        left = {"ds_logs_dir": str(tmp_path / "logs"), "PATH": "/usr/bin:/bin", "HOME": str(sealed)}
        (tmp_path / "logs" / "earlier").mkdir(parents=True, exist_ok=True)
        (tmp_path / "logs" / "earlier" / "hyper.json").write_text("{}")  # of another training

        command = [sys.executable, "-m", "deepspeech_wer.training", str(script)]
        done = subprocess.run(command, env=left, capture_output=True, text=True, check=False)

        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(f"{tmp_path}/logs: nothing was trained: ")
