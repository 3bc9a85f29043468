"""How many round trips a publish takes: what it costs over a distance, whatever the machine."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer.configuration.settings import Website
from tests.end_to_end.proxy import Network, bad_network
from tests.end_to_end.publishing import put, version
from tests.end_to_end.sshd import Sshd, running_sshd

ONE_WAY_S = 0.3  # far more than the work between two requests takes on a busy machine
LOGIN = 7  # keys offered, agreed on, the service, the key, the channel, SFTP on it, its greeting
LOOK = 2  # directories and manifest: opened, read
LOCK = 2  # the lock and the draft of the manifest: made, written
SEND = 2  # opened; written, and given a second name
PUT_IN_PLACE = 3  # data, index.htm, the manifest


@pytest.fixture
def site(tmp_path: Path) -> Path:
    version(tmp_path / "site", 1)
    return tmp_path / "site"


@pytest.fixture
def far(tmp_path: Path) -> Iterator[tuple[Network, Website, Sshd]]:
    """A server at a distance, and the network, which counts."""
    with running_sshd(tmp_path / "sshd") as server, bad_network(server.port) as network:
        network.delay_s = ONE_WAY_S
        yield network, server.also_at(network.port), server


def trips(network: Network, site: Path, website: Website, **options: object) -> int:
    importlib.import_module("deepspeech_wer.publish.publisher")  # it would take part of the time
    before = network.trips
    put(site, website, **options)
    return network.trips - before


def test_no_more_than_needed(far: tuple[Network, Website, Sshd], site: Path) -> None:
    network, website, _ = far
    known = 1  # `next` is there before anything else; directories cost nothing
    assert trips(network, site, website) <= LOGIN + LOOK + LOCK + known + SEND + PUT_IN_PLACE
    assert trips(network, site, website) <= LOGIN + LOOK
    version(site, 2)
    assert trips(network, site, website) <= LOGIN + LOOK + LOCK + SEND + PUT_IN_PLACE
