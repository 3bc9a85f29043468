"""`git daemon` on loopback: `with running_git_daemon(directory) as url: ...`, then git fetches f"{url}/NAME"."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.end_to_end.sshd import HOST, free_port, require, wait_for_port


@contextlib.contextmanager
def running_git_daemon(directory: Path) -> Iterator[str]:
    """Serve the repositories below `directory` until the block ends. Yields its URL."""
    git, port = require("git", "git"), free_port()
    program = Path(subprocess.check_output([git, "--exec-path"], text=True).strip(), "git-daemon")
    require(program, "git")
    # Not `git daemon`: git would start git-daemon as a child and leave it behind.
    command = [program, "--export-all", "--reuseaddr", f"--listen={HOST}", f"--port={port}"]
    with subprocess.Popen([*command, f"--base-path={directory}", directory], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port, process)
            yield f"git://{HOST}:{port}"
        finally:
            process.terminate()
