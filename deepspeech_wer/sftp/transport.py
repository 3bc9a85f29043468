"""paramiko's transport with an end to its patience, and with fewer round trips before the first request of SFTP.

Sources: RFC 4253 (transport), RFC 4252 (authentication), RFC 4254 (channels).
"""

from __future__ import annotations

import threading
from typing import Any

from deepspeech_wer.sftp.dial import IDENTIFICATION, Dropped, Line
from deepspeech_wer.sftp.libraries import paramiko

_FIRST_CHANNEL = 0  # the number that OpenSSH gives to the first channel of a connection


class Transport(paramiko.Transport):  # type: ignore[misc]
    """paramiko's, on a line where the server has been told who is here."""

    auth_handler: Any

    def __init__(self, line: Line, timeout_s: float, *, careful: bool) -> None:
        """`careful`: without the short cuts that know the ways of OpenSSH's server."""
        super().__init__(line)
        self._careful = careful
        self.local_version = IDENTIFICATION
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = timeout_s
        self.channel_timeout = self.clear_to_send_timeout = timeout_s
        self._opening: tuple[Any, threading.Event] | None = None

    def start_client(self, event: Any = None, timeout: float | None = None) -> None:
        """Its own time-out ends with the first message: a server that vanishes after it is waited for for ever."""
        super().start_client(event, timeout or self.handshake_timeout)
        if not self.initial_kex_done:
            raise paramiko.SSHException("no answer in time while agreeing on keys")

    @property
    def is_openssh(self) -> bool:
        """Whether requests may be sent before the answer to those they build on: its server reads in order."""
        return not self._careful and "OpenSSH" in self.remote_version

    def auth_publickey(
        self, username: str, key: Any, event: threading.Event | None = None, *, only: bool = False
    ) -> list[str]:
        """Returns the further ways to authenticate that the server wants, mostly none.

        The `only` key there is will be the right one: with OpenSSH all that asks for SFTP follows it without waiting,
        which saves two round trips. A server that refuses the key does not understand the rest, and says so.
        """
        done = event or threading.Event()
        self.auth_handler = _Login(self, asked=self.auth_handler is not None, at_once=self.is_openssh)
        self.auth_handler.auth_publickey(username, key, done)
        if only and self.is_openssh:
            self._opening = self._ask_for_sftp()
        further: list[str] = self.auth_handler.wait_for_response(done)
        return further

    def open_sftp(self) -> Any:
        """A channel on which the server has been asked for SFTP. OpenSSH's answer is not waited for: a no ends it."""
        if not self.is_openssh:
            channel = self.open_session()
            channel.settimeout(self.channel_timeout)
            channel.invoke_subsystem("sftp")
            return channel
        channel, confirmed = self._opening or self._ask_for_sftp()
        self._opening = None
        if not confirmed.wait(self.channel_timeout):  # it may know no such short cut
            raise Dropped(f"{self.remote_version}: no answer in time to the request for SFTP")
        if self._channels.get(channel.chanid) is None:
            raise self.get_exception() or paramiko.SSHException("no channel was opened")
        if channel.remote_chanid != _FIRST_CHANNEL:
            raise Dropped(f"{self.remote_version}: its first channel has the number {channel.remote_chanid}")
        return channel

    def _ask_for_sftp(self) -> tuple[Any, threading.Event]:
        """Ask for a channel, and for SFTP on it, in one go. The event comes with the server's answer about the channel.

        What paramiko's open_session and invoke_subsystem do, each with a round trip of its own.
        """
        channel = paramiko.Channel(self._next_channel())
        confirmed = self.channel_events[channel.chanid] = threading.Event()
        self._channels.put(channel.chanid, channel)
        self.channels_seen[channel.chanid] = True
        channel._set_transport(self)
        channel._set_window(self.default_window_size, self.default_max_packet_size)
        channel.settimeout(self.channel_timeout)
        opening = paramiko.Message()  # RFC 4254, 5.1
        opening.add_byte(paramiko.common.cMSG_CHANNEL_OPEN)
        opening.add_string("session")
        opening.add_int(channel.chanid)
        opening.add_int(self.default_window_size)
        opening.add_int(self.default_max_packet_size)
        self._send_user_message(opening)
        request = paramiko.Message()  # RFC 4254, 6.5
        request.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
        request.add_int(_FIRST_CHANNEL)
        request.add_string("subsystem")
        request.add_boolean(True)
        request.add_string("sftp")
        self._send_user_message(request)
        return channel, confirmed


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
