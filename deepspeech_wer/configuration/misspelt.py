"""Finds variables that look like misspelt ones of the tracker, and those of 2016 that do nothing any more."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_LOSS, _INITIAL = "the CTC loss is the training's own", "ds_initializer=normal with ds_default_stddev, for all layers"
GONE = {  # variables of DeepSpeech's scripts of 2016 and 2017 that do nothing, and what replaces them
    "ds_batch_size": "ds_train_batch_size, ds_dev_batch_size, ds_test_batch_size",
    "ds_restore_checkpoint": "nothing: a training always resumes what is in ds_checkpoint_dir",
    "ds_remove_export": "nothing: each run exports into a directory of ds_export_dir",
    "ds_use_warpctc": f"nothing: {_LOSS}",
    "ds_do_fulltrace": "nothing: use TensorFlow's own profiler",
    "ds_log_device_placement": "nothing: ds_devices chooses the devices",
    **{f"ds_{part}{layer}_stddev": _INITIAL for part in "bh" for layer in (1, 2, 3, 5, 6)},
    **{f"ds_dropout_rate{layer}": "ds_dropout_rate, for all layers" for layer in range(2, 7)},
}

# A job has no variables that begin like these.
_TRACKERS = (
    *("ds_github_", "ds_gitlab_", "ds_job_", "ds_repo_", "ds_repository_"),
    *("ds_slurm_", "ds_webhook", "ds_website_"),
)
# What people call ds_webhook_url: ds_slack_url, ds_notify, ...
_RECEIVER = re.compile(
    "_(?:(?:slack|teams|discord|mattermost|chat|hook|webhook|alerts?|notif[a-z]*)(?:_|$))+(?:ur[il])?$"
)


def doubts(given: Mapping[str, str], known: Collection[str]) -> list[str]:
    """Return a line for each ds_* variable that looks like a misspelt one of the `known`, or that is gone since 2016.

    It may be the job's own, unless it begins as only the tracker's do.
    """
    found = []
    for name in sorted(name for name in given if name.lower().startswith("ds_") and name not in known):
        if name in GONE:
            found.append(f"{name}: of the scripts of 2016, does nothing here; instead: {GONE[name]}")
            continue
        if near := _near(_RECEIVER.sub("_webhook_url", name.lower()).replace("_branch", "_ref"), known):
            found.append(f"{name}: the tracker has no such variable: is {' or '.join(near)} meant?")
    return found


def _near(name: str, known: Collection[str]) -> list[str]:
    """Return the variables that begin or end with a name; without any, the one that is spelt most like it."""
    import difflib  # most ticks misspell nothing

    longer = [one for one in known if one.startswith(f"{name}_") or one.endswith(name.removeprefix("ds"))]
    cutoff = 0.6 if name.startswith(_TRACKERS) else 0.85
    return sorted(longer) or difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
