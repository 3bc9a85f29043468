"""A connection of pysftp's with its faults mended: keys, host keys, time-outs, algorithms.

Importing this loads paramiko (a quarter of a second, 25 MB): import it where a connection is made.
Sources: RFC 4253 (transport), RFC 4252 (authentication), ssh(1).
"""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from logging.handlers import BufferingHandler
from types import SimpleNamespace
from typing import Any

import paramiko  # type: ignore[import-untyped]

from deepspeech_wer import files
from deepspeech_wer.account import Account
from deepspeech_wer.errors import Trouble, innermost
from deepspeech_wer.machine import known_hosts
from deepspeech_wer.machine.known_hosts import HostKey
from deepspeech_wer.sftp.keys import Unsigned, private_keys
from deepspeech_wer.sftp.pipeline import Lost, Pipeline
from deepspeech_wer.text import plain

# pysftp 0.2.9 (2016) imports DSSKey, which paramiko removed in 4.0. Nothing here uses it: see keys.py.
if not hasattr(paramiko, "DSSKey"):
    paramiko.DSSKey = type("DSSKey", (), {})
import pysftp

# Preferred first: AEAD ciphers take one pass over the data. All others are off: CBC, 3DES, SHA-1, MD5.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_DIGESTS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
_WEAK = re.compile(r"cbc|arcfour|3des|sha1\b|md5|ssh-rsa|ssh-dss|none")
# Last word before the colon, in the lines of paramiko's log with the server's lists -> name of our list.
_LISTS = {"algos": "kex", "key": "key_types", "encrypt": "ciphers", "mac": "digests"}
_OPTIONS = {"kex": "KexAlgorithms", "key_types": "HostKeyAlgorithms", "ciphers": "Ciphers", "digests": "MACs"}
_CLOSED = re.compile("EOFError|Error reading SSH protocol banner")
_KEEPALIVE_S = 10
_MOMENT_S = 1.0  # between the end of a channel and that of its connection


class Dropped(Trouble):
    """The network or the server went away. The same call may succeed in a moment."""


@contextmanager
def connected(account: Account, *, timeout_s: float) -> Iterator[Connection]:
    """A connection to a server whose host key is on record, logged in. Raises Dropped where waiting may help, otherwise
    Trouble with the cure.
    """
    own = files.home() / ".ssh"
    record = (account.known_hosts, own / "known_hosts", own / "known_hosts2", *known_hosts.SYSTEM_WIDE)
    known = known_hosts.lookup(account.server_fqdn, account.server_port, record)
    with private_keys(account, timeout_s) as keys:
        while keys:
            line = _connect(account, timeout_s)
            with Connection(account, known, line, timeout_s) as connection:
                keys = connection.log_in(keys)
                if not keys:
                    yield connection


class Connection(pysftp.Connection):  # type: ignore[misc]
    """One SSH connection. The constructor only agrees on keys with the host; `log_in` checks whose they are.

    pysftp's constructor calls its `_start_transport` and `_set_authentication`. Only overriding them adds time-outs,
    a choice of algorithms, several host keys, and keys that are not RSA. It expects its connection in `_transport`.
    """

    def __init__(self, account: Account, known: Sequence[HostKey], line: socket.socket, timeout_s: float) -> None:
        self._account, self._known, self._line, self._timeout_s = account, known, line, timeout_s
        self._log = BufferingHandler(200)  # lines; those of the key exchange come first
        # pysftp's own options class reads ~/.ssh/known_hosts, and warns where it finds nothing
        options = SimpleNamespace(log=False, compression=False, ciphers=None, hostkeys=None)
        with self._time_limit():  # when anything is raised here, paramiko has closed the connection
            super().__init__(account.server_fqdn, username=account.username, port=account.server_port, cnopts=options)

    @property
    def is_openssh(self) -> bool:
        """Whether the server is OpenSSH's, which handles requests in order and reports every failed write."""
        return "OpenSSH" in self._transport.remote_version

    def log_in(self, offered: Sequence[Any]) -> Sequence[Any]:
        """Check the host's key, then offer ours until one is accepted. Raises Trouble or Dropped.

        The connection may end before all are seen: OpenSSH hangs up after MaxAuthTries, asyncssh after the first, and
        paramiko where an agent does not sign. Then the others are returned, for a new connection; else none.
        """
        self._check_host_key()
        for refused, key in enumerate(offered):
            try:
                with self._time_limit():
                    further = self._transport.auth_publickey(self._account.username, key)
            except Unsigned:
                if rest := offered[refused + 1 :]:
                    return rest
                raise
            except paramiko.BadAuthenticationType as error:
                only = ", ".join(error.allowed_types)
                raise Trouble(f"{self._account}: the server accepts no public keys, only {only}") from error
            except paramiko.AuthenticationException as error:
                if self._transport.is_active() and "timeout" not in str(error):
                    continue
                was_last = any("Too many authentication failures" in line for line in self._logged())
                if not refused and not was_last:
                    raise Dropped(f"{self._account}: the connection was lost while logging in") from error
                if rest := offered[refused + was_last :]:  # it refused the last one, or hung up without a look at it
                    return rest
                break
            if further:
                raise Trouble(f"{self._account}: the server wants more than a public key: allow that user one")
            return ()
        tried = str(self._account.privkey or "every key of the ssh agent that signs")
        raise Trouble(
            f"{self._account}: the server refuses {tried}: add the public key to that user's "
            f"~/.ssh/authorized_keys on the server, or correct {self._account.prefix}username; where both are right, "
            "its log names what forbids it: PubkeyAcceptedAlgorithms, AllowUsers, modes of that file, from= in it"
        )

    @contextmanager
    def session(self, is_stopped: Callable[[], bool]) -> Iterator[Pipeline]:
        """A session with the server's SFTP subsystem. Raises Dropped where it breaks, Trouble where there is none."""
        session = None
        try:
            with self._time_limit():
                channel = self._transport.open_session()
                channel.settimeout(self._timeout_s)
                channel.invoke_subsystem("sftp")
            session = Pipeline(channel, is_stopped)
            yield session
        except (Dropped, Lost) as error:
            problem = (str(error) if isinstance(error, Lost) else innermost(error)).removeprefix(f"{self._account}: ")
            if session is None and not isinstance(error.__cause__, TimeoutError):
                self._transport.join(_MOMENT_S)
                if self._transport.is_active():
                    cure = "its sshd_config needs Subsystem sftp internal-sftp; only root writes to a ChrootDirectory"
                    cure += "; a key with command= in authorized_keys allows that alone"
                    raise Trouble(f"{self._account}: the server offers no SFTP ({problem}): {cure}") from error
            raise Dropped(f"{self._account}: {problem}") from error

    def _start_transport(self, *_: object) -> None:
        self._transport = transport = paramiko.Transport(self._line)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = self._timeout_s
        transport.channel_timeout = transport.clear_to_send_timeout = self._timeout_s
        transport.set_keepalive(_KEEPALIVE_S)
        logger = logging.getLogger(f"{__name__}.paramiko")  # which logs tracebacks, too
        logger.propagate, logger.handlers = False, [self._log]
        logger.setLevel(logging.DEBUG)
        transport.set_log_channel(logger.name)
        options = transport.get_security_options()
        options.ciphers = [name for name in _CIPHERS if name in options.ciphers]
        options.digests = [name for name in _DIGESTS if name in options.digests]
        # First those of which a key is on record: a server has several keys, and we can check only these.
        kinds = {key.kind for key in self._known if known_hosts.allows(self._known, key.blob)}
        if "ssh-rsa" in kinds:  # this names the key, and its signature with SHA-1
            kinds |= {"rsa-sha2-512", "rsa-sha2-256"}
        options.key_types = sorted(options.key_types, key=lambda name: name not in kinds)

    def _set_authentication(self, *_: object) -> None:
        """Nothing yet: the host key is checked first."""

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Close the connection when the time is up; raise Dropped for that, and for whatever else ends it.

        paramiko's own time-outs leave gaps: after the first message of the key exchange, and while a request for a
        subsystem is unanswered, it waits for ever.
        """
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._transport.close()

        timer = threading.Timer(self._timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        except paramiko.IncompatiblePeer as error:
            told = _nothing_in_common(self._logged(), self._transport.get_security_options()) or innermost(error)
            raise Trouble(f"{self._account}: {told}") from error
        except paramiko.AuthenticationException:
            raise
        except (paramiko.SSHException, EOFError, OSError) as error:
            problem = "timed out" if expired.is_set() else _CLOSED.sub("the server closed it", innermost(error))
            if not self._transport.remote_version:
                said = next((f", after {line[8:][:80]!r}" for line in self._logged() if line[:8] == "Banner: "), "")
                problem += f"{said}; no SSH server greeted: is that its SSH port ({self._account.prefix}server_port)?"
                away = "the server's log tells why it turns this machine away: MaxStartups, or a ban by fail2ban"
                problem += f" If so, {'the server hangs, or a firewall drops this' if expired.is_set() else away}"
            elif self._transport.host_key is None and not expired.is_set():
                problem += (
                    " after its greeting: the server's log tells why; HostKeyAlgorithms may name no HostKey it has"
                )
            raise Dropped(f"{self._account}: the connection failed: {problem}") from error
        finally:
            timer.cancel()

    def _logged(self) -> list[str]:
        """The lines of paramiko's log: it tells nobody else what the server said."""
        return [record.getMessage() for record in self._log.buffer]

    def _check_host_key(self) -> None:
        key = self._transport.get_remote_server_key()
        if known_hosts.allows(self._known, key.asbytes()):
            return
        account, markers = self._account, {known.marker for known in self._known}
        shown = f"{account}: the server shows an {key.get_name()} key that"
        if HostKey(key.get_name(), key.asbytes(), "@revoked") in self._known:
            raise Trouble(f"{shown} known_hosts revokes: ask whoever runs the server")
        host, port, file = account.server_fqdn, account.server_port, account.known_hosts or "~/.ssh/known_hosts"
        name, scan = known_hosts.name_of(host, port), f"ssh-keyscan -p {port} {host} >> {file}"
        if "" not in markers:
            only = ", only a @cert-authority (certificates of hosts are not read)" * ("@cert-authority" in markers)
            raise Trouble(
                f"{account}: unknown host: no known_hosts file has a key of {name}{only}. Add it, then compare it with "
                f"the server's own (ssh-keygen -lf): {scan}{_alias(account)}"
            )
        cure = f"If whoever runs the server confirms a new key: ssh-keygen -R '{name}'; {scan}"
        raise Trouble(f"{shown} is none of those on record for {name}: somebody may be in between. {cure}")


def _nothing_in_common(lines: Sequence[str], ours: Any) -> str:
    """Describe the first list of algorithms that shares none with ours; "" if there is none. `lines` are of the log."""
    for line in lines:
        title, _, names = line.partition(": ")
        option = _LISTS.get(title.rpartition(" ")[2])
        known = getattr(ours, option) if option else ()
        theirs = [one for one in names.split(", ") if not one.startswith(("ext-info-", "kex-strict-"))]
        if option and not set(theirs).intersection(known):
            weak = ", all weak," if all(map(_WEAK.search, theirs)) else ""
            kind = option.replace("kex", "key exchange").replace("key_types", "host keys")
            told = f"no {kind} in common: the server offers {plain(', '.join(theirs))[:300]}{weak} and this client"
            cure = f"allow one of these on the server (sshd_config: {_OPTIONS[option]})"
            return f"{told} supports {', '.join(known)}: {cure}"
    return ""


def _connect(account: Account, timeout_s: float) -> socket.socket:
    host, port = account.server_fqdn, account.server_port
    try:
        line = socket.create_connection((host, port), timeout=timeout_s)
    except socket.gaierror as error:
        cure = f"check it and the network{_alias(account) or f'; ssh_config is not read: ssh -G {host} tells more'}"
        raise Dropped(f"{host}: no address known for this name ({error.strerror}): {cure}") from error
    except OSError as error:
        problem = f"no answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else innermost(error)
        raise Dropped(f"{host} port {port}: cannot connect: {problem}{_alias(account)}") from error
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Without this, Linux retries writes into a black hole for 15 minutes.
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1000))
    return line


def _alias(account: Account) -> str:
    """The end of a cure where ~/.ssh/config leads ssh elsewhere. It is used for nothing else."""
    with suppress(OSError, ValueError, LookupError, paramiko.SSHException):
        text = files.read(files.home() / ".ssh" / "config").decode("utf-8", "replace")
        text = re.sub(r"(?im)^\s*match\b.*", "Host !*", text)  # which may run a command
        there = paramiko.SSHConfig.from_text(text).lookup(account.server_fqdn)
        named = {"hostname": account.server_fqdn.lower(), "port": str(account.server_port)}
        other = [f"{key} {there[key]}" for key, ours in named.items() if there.get(key, ours).lower() != ours]
        other += [key for key in ("proxyjump", "proxycommand") if str(there.get(key)).lower() != "none"]
        if other:
            told = f"; ~/.ssh/config, which is not read here, has {plain(', '.join(other))} for this name: set "
            return f"{told}{account.prefix}server_fqdn, its port and user likewise; behind a proxy, a port of ssh -L"
    return ""
