"""paramiko's transport with an end to its patience, and with fewer round trips before we are let in.

Sources: RFC 4253 (transport), RFC 4252 (authentication), RFC 4254 (channels).
"""

from __future__ import annotations

import threading
from typing import Any

from deepspeech_wer.publish.dial import IDENTIFICATION, Line
from deepspeech_wer.publish.libraries import paramiko


class Transport(paramiko.Transport):  # type: ignore[misc]
    """paramiko's, on a line where the server has been told who is here."""

    auth_handler: Any

    def __init__(self, line: Line, timeout_s: float) -> None:
        super().__init__(line)
        self.local_version = IDENTIFICATION
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = timeout_s
        self.channel_timeout = self.clear_to_send_timeout = timeout_s

    def start_client(self, event: Any = None, timeout: float | None = None) -> None:
        """Its own time-out ends with the first message: a server that vanishes after it is waited for for ever."""
        super().start_client(event, timeout or self.handshake_timeout)
        if not self.initial_kex_done:
            raise paramiko.SSHException("no answer in time while agreeing on keys")

    @property
    def is_openssh(self) -> bool:
        """Whether requests may be sent before the answer to those they build on: its server reads in order."""
        return "OpenSSH" in self.remote_version

    def auth_publickey(self, username: str, key: Any, event: threading.Event | None = None) -> list[str]:
        """Returns the further ways to authenticate that the server wants, mostly none."""
        done = event or threading.Event()
        self.auth_handler = _Login(self, asked=self.auth_handler is not None, at_once=self.is_openssh)
        self.auth_handler.auth_publickey(username, key, done)
        further: list[str] = self.auth_handler.wait_for_response(done)
        return further

    def open_sftp(self) -> Any:
        """A channel on which the server is asked for SFTP. With OpenSSH without waiting: if it says no, it ends."""
        channel = self.open_session()
        channel.settimeout(self.channel_timeout)
        if not self.is_openssh:
            channel.invoke_subsystem("sftp")
            return channel
        request = paramiko.Message()  # RFC 4254, 6.5
        request.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
        request.add_int(channel.remote_chanid)
        request.add_string("subsystem")
        request.add_boolean(True)
        request.add_string("sftp")
        self._send_user_message(request)
        return channel


class _Login(paramiko.auth_handler.AuthHandler):  # type: ignore[misc]
    """Asks for the service once, not once for each key: at the second time asyncssh's server hangs up.

    With `at_once` the key follows without waiting for the answer, which saves a round trip.
    """

    def __init__(self, transport: Transport, *, asked: bool, at_once: bool) -> None:
        super().__init__(transport)
        self._asked = asked
        self._at_once = at_once

    def _request_auth(self) -> None:
        if not self._asked:
            super()._request_auth()
        if self._asked or self._at_once:
            accepted = paramiko.Message()
            accepted.add_string("ssh-userauth")
            accepted.rewind()
            super()._parse_service_accept(accepted)

    def _parse_service_accept(self, message: Any) -> None:
        if not self._at_once:
            super()._parse_service_accept(message)
