"""Private keys in ciphers that ssh knows and the cryptography library does not: ssh-keygen writes a copy anew."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

_TIMEOUT_S = 30.0
_PHRASE = "DS_KEY_PASSPHRASE"
_ASK = f'#!/bin/sh\nprintf "%s\\n" "${_PHRASE}"\n'


def rewritten(key: bytes, passphrase: str) -> bytes | None:
    """Return a private key in the format and cipher of ssh-keygen's, with the same passphrase; None if it cannot.

    No file holds the key without its passphrase, and no command line the passphrase. Source: ssh-keygen(1), -p; ssh(1),
    SSH_ASKPASS_REQUIRE.
    """
    program = shutil.which("ssh-keygen")
    if not program:
        return None
    with suppress(OSError, ValueError, subprocess.SubprocessError), tempfile.TemporaryDirectory() as directory:
        copy, ask = Path(directory) / "key", Path(directory) / "ask"
        for file, data, mode in ((copy, key, 0o600), (ask, _ASK.encode(), 0o700)):
            file.touch(mode)
            file.write_bytes(data)
        subprocess.run(
            [program, "-q", "-p", "-f", str(copy)],
            env={"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none", _PHRASE: passphrase},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # else it asks on the terminal
            timeout=_TIMEOUT_S,
            check=True,
        )
        return copy.read_bytes()
    return None
