"""The private keys of an account, from a file or an ssh agent."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import paramiko  # type: ignore[import-untyped]
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from deepspeech_wer import files
from deepspeech_wer.account import Account
from deepspeech_wer.errors import Trouble, innermost
from deepspeech_wer.machine import ssh_keygen
from deepspeech_wer.records import PUBLIC_KEY

_PRIVATE = re.compile(rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?-----END \1PRIVATE KEY-----", re.DOTALL)


class Unsigned(Trouble):
    """A key did not sign: its token is not plugged in, or its user did not confirm. Another one may."""


class _AgentKey(paramiko.AgentKey):  # type: ignore[misc]
    """A key that an ssh agent holds. What goes wrong with it is the agent's trouble, not the server's."""

    def asbytes(self) -> bytes:
        return self.blob  # type: ignore[no-any-return]  # of an RSA certificate, paramiko shows the bare key

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        try:
            return super().sign_ssh_data(data, algorithm)  # type: ignore[no-any-return]
        except (OSError, paramiko.SSHException) as error:
            kind = Trouble if isinstance(error, OSError) else Unsigned  # a silent agent is silent for all of them
            raise kind(f"{self.comment} does not sign ({innermost(error)}): set it to a key file") from error


@contextmanager
def private_keys(account: Account, timeout_s: float) -> Iterator[Sequence[Any]]:
    """The key in the account's file, or all keys of the ssh agent, which sign until the block ends. Raises Trouble."""
    setting = f"{account.prefix}privkey"
    if account.privkey is not None:
        yield _read_key(account.privkey, account.privkey_passphrase, setting)
        return
    shown = f"{setting}: not set, and the ssh agent (SSH_AUTH_SOCK)"
    with closing(_agent(shown, timeout_s / 2)) as agent:  # before that of a login ends
        if not (keys := [_AgentKey(agent, key.blob, shown) for key in agent.get_keys()]):
            raise Trouble(f"{shown} holds no key or is gone, as under cron: set it to a key file, or ssh-add the key")
        yield keys


def _agent(shown: str, timeout_s: float) -> paramiko.Agent:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout_s)  # that of the agent's socket: paramiko waits for an agent without end
    try:
        return paramiko.Agent()
    except (OSError, paramiko.SSHException) as error:
        raise Trouble(f"{shown} does not answer ({innermost(error)}): set it to a key file") from error
    finally:
        socket.setdefaulttimeout(before)


def _read_key(file: Path, passphrase: str | None, setting: str) -> list[Any]:
    """The key, first with the certificate beside it, if any: ssh offers both, in this order. Raises Trouble that names
    the file and what is wrong with it, but nothing of its content.
    """
    shown = f"{setting}: {file}"
    try:
        data = files.read(file)
    except OSError as error:
        raise Trouble(f"{shown}: cannot be read: {error.strerror}") from error
    block = _PRIVATE.search(data)
    wanted = "expected ed25519, ECDSA or RSA, as made by ssh-keygen -t ed25519"
    if block:
        load = serialization.load_ssh_private_key if b"OPENSSH" in block[1] else serialization.load_pem_private_key
        # openssl, and so ssh, ignores line ends and any text around the key
        pem = b"".join(line.strip() + b"\n" for line in block[0].splitlines())
        try:
            return _usable(file, _opened(partial(load, pem), passphrase, file, setting))
        except (ValueError, paramiko.SSHException):
            pass
        except UnsupportedAlgorithm as error:
            with suppress(ValueError, UnsupportedAlgorithm):  # a security token's
                if passphrase and (anew := ssh_keygen.rewritten(pem, passphrase)):
                    return _usable(file, serialization.load_ssh_private_key(anew, _bytes(passphrase)))
            cure = f"ssh-keygen -p -f '{file}' writes it anew, unless it belongs to a security token"
            raise Trouble(f"{shown}: cannot be read here ({innermost(error)}): {cure}") from error
    elif data.startswith(PUBLIC_KEY):
        raise Trouble(f"{shown}: is a public key: give the private one, usually the name without .pub")
    elif data.startswith(b"PuTTY-User-Key-File"):
        wanted = f"it is PuTTY's own format: puttygen '{file}' -O private-openssh -o NEW, and give that file"
    raise Trouble(f"{shown}: is no private key that can be used: {wanted}")


def _opened(load: Callable[[bytes | None], Any], passphrase: str | None, file: Path, setting: str) -> Any:
    """The cryptography library's key. Raises Trouble, ValueError, UnsupportedAlgorithm."""
    try:
        return load(None)  # a key without a passphrase is fine even where one is set
    except TypeError as error:
        if not passphrase:
            raise Trouble(f"{setting}: {file}: has a passphrase: set {setting}_passphrase, or use an agent") from error
    try:
        return load(_bytes(passphrase))
    except (ValueError, InvalidTag) as error:
        if "unknown" in str(error).lower():  # the cipher, not the passphrase
            raise UnsupportedAlgorithm(str(error)) from error
        cure = f"if ssh takes it, ssh-keygen -p -f '{file}' writes it anew"  # in a cipher that is known here too
        raise Trouble(f"{setting}: {file}: {setting}_passphrase does not open it; {cure}") from error


def _bytes(passphrase: str) -> bytes:
    return passphrase.encode("utf-8", "surrogateescape")


def _usable(file: Path, key: Any) -> list[Any]:
    """Convert to paramiko's keys, through the one container that all of them read."""
    kinds = {RSAPrivateKey: paramiko.RSAKey, EllipticCurvePrivateKey: paramiko.ECDSAKey}
    kind = next((ours for theirs, ours in kinds.items() if isinstance(key, theirs)), paramiko.Ed25519Key)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()
    plain, certified = (kind.from_private_key(StringIO(text)) for _ in range(2))
    with suppress(OSError, ValueError, UnsupportedAlgorithm):  # none, or unreadable: ssh goes on without
        certificate = re.sub(r"\A(\s|#.*\n)+", "", files.read(Path(f"{file}-cert.pub")).decode("utf-8"))
        identity = serialization.load_ssh_public_identity(certificate.encode())
        if isinstance(identity, serialization.SSHCertificate) and identity.public_key() == key.public_key():
            certified.load_certificate(certificate)
            return [certified, plain]
    return [plain]
