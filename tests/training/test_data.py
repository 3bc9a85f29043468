"""The former name of `dataset`."""

from __future__ import annotations

from deepspeech_wer.training import data, dataset


def test_scripts_find_it_under_its_former_name() -> None:
    assert data.prepare is dataset.prepare
