"""A scripted SFTP server, in the place of a channel to a real one."""

from __future__ import annotations

import struct
from collections.abc import Callable

from deepspeech_wer.sftp import pipeline
from deepspeech_wer.sftp.pipeline import string


class Talk:
    """A channel with a scripted server: called with (kind, number, body), answers packets."""

    def __init__(self, answer: Callable[[int, int, bytes], list[bytes]], hello: bytes = b"\x02\0\0\0\x03") -> None:
        self.answer = answer
        self.coming = bytearray(struct.pack(">I", len(hello)) + hello)
        self.sent = bytearray()

    def sendall(self, data: bytes) -> None:
        self.sent += data
        while len(self.sent) >= 4 and len(self.sent) >= 4 + int.from_bytes(self.sent[:4], "big"):
            size = int.from_bytes(self.sent[:4], "big")
            packet = bytes(self.sent[4 : 4 + size])
            del self.sent[: 4 + size]
            if packet[0] != pipeline.INIT:
                for reply in self.answer(packet[0], int.from_bytes(packet[1:5], "big"), packet[5:]):
                    self.coming += struct.pack(">I", len(reply)) + reply

    def recv(self, size: int) -> bytes:
        data = bytes(self.coming[: min(size, 7)])  # in crumbs: packets come in pieces
        del self.coming[: len(data)]
        return data


def status(number: int, code: int, text: str = "") -> bytes:
    return struct.pack(">BII", pipeline.STATUS, number, code) + string(text) + string("")
