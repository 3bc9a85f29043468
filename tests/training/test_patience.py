"""What a training decides from its validation losses."""

from __future__ import annotations

import pytest

from deepspeech_wer.errors import UsageTrouble
from deepspeech_wer.training import patience
from deepspeech_wer.training.epochs import Epoch
from deepspeech_wer.training.parameters import Parameters, from_environment


def history(*losses: float | None, seconds: float = 1.0) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(number, 1.0, None, loss, None, 0.1, seconds if loss is None else 3 * seconds, 1.0)
        for number, loss in enumerate(losses, 1)
    )


def asked(**variables: str) -> Parameters:
    return from_environment({"ds_epochs": "9", **variables})


def test_a_training_ends_after_so_many_epochs_without_a_lower_loss() -> None:
    early = asked(ds_early_stop="2")
    assert not patience.is_over((), early)
    assert not patience.is_over(history(3, 2, 2.5), early)
    assert patience.is_over(history(3, 2, 2.5, 2), early)
    assert not patience.is_over(history(3, 2, 2.5, 1.9), early)
    assert not patience.is_over(history(3, None, None, None), early)  # none was measured since
    assert not patience.is_over(history(3, 2, 2.5, 2, 2, 2), asked())
    assert patience.is_over(history(*range(9, 0, -1)), early)


def test_a_plateau_lowers_the_rate_again_and_again() -> None:
    plateau = asked(ds_plateau="2")
    factors = [patience.factor(history(*[5, 4, 4, 4, 4, 4, 3, 3, 3][:count]), plateau) for count in range(10)]
    assert factors == pytest.approx([1, 1, 1, 1, 0.2, 0.2, 0.04, 0.04, 0.04, 0.008])
    assert patience.factor(history(5, 5, 5, 5), asked()) == 1


def test_the_tested_epoch_is_the_last_or_the_first_of_the_best() -> None:
    assert patience.tested_epoch(history(3, 1, 2, 1), asked()) == 4
    assert patience.tested_epoch(history(3, 1, 2, 1), asked(ds_keep_best="1")) == 2
    assert patience.tested_epoch(history(None, None), asked(ds_keep_best="1")) == 2


def test_the_time_to_go_counts_validations_as_they_take() -> None:
    sparse = asked(ds_validation_step="3")
    known = history(None, None, 2.0)
    assert patience.seconds_to_go(known, sparse) == 4 * 1 + 2 * 3
    assert patience.seconds_to_go(history(*[1.0] * 9), sparse) == 0
    assert patience.seconds_to_go((), sparse) == 0
    # The last ones count: a machine that was busy at first is not busy for ever.
    assert patience.seconds_to_go((*history(1.0, seconds=9), *history(*[1.0] * 5)), asked(ds_epochs="7")) == 3
    assert [patience.told(one) for one in (0.2, 59, 600, 7200)] == ["1 s", "59 s", "10 min", "2.0 h"]


@pytest.mark.parametrize("name", ["ds_plateau", "ds_early_stop", "ds_keep_best"])
def test_what_needs_validations_is_refused_without(name: str) -> None:
    with pytest.raises(UsageTrouble, match=rf"ds_validation_step=0: expected 1 or more with {name}"):
        asked(**{name: "1", "ds_validation_step": "0"})
