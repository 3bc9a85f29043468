"""Measures what each part of the AN4 recipe contributes: the validation WER of bin/run-an4.sh without that part.

    .venv/bin/python tests/benchmarks/ablation.py [--dataset DIR] [--seeds N] [--only PART ...]

Greedy decoding, mean of N seeds (3). The test set is reduced to one utterance, since every run ends with a test. Each
training takes about 300 to 400 CPU-seconds; a smaller ds_epochs shortens all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SEED = 4567
PARTS: dict[str, dict[str, str]] = {
    "the recipe": {},
    "varied from the first epoch on": {"ds_plain_epochs": "0"},
    "no dropout": {"ds_dropout_rate": "0"},
    "no change of tempo": {"ds_augment_tempo": "0"},
    "no change of the vocal tract": {"ds_augment_pitch": "0"},
    "no frequency mask": {"ds_augment_frequency_masks": "0"},
    "no time mask": {"ds_augment_time_masks": "0"},
    "noise of 0.1": {"ds_augment_noise": "0.1"},
    "two frames per step of the LSTM": {"ds_frame_stride": "2", "ds_epochs": "80"},
    "constant rate of 0.001": {"ds_schedule": "constant", "ds_learning_rate": "0.001"},
    "gradients not clipped": {"ds_clip_norm": "0"},
    "normalisation of 2016": {"ds_normalisation": "all"},
    "weights of 2016": {"ds_initializer": "normal"},
}


def main() -> None:
    """Train and print."""
    options = _options()
    print("| part | validation WER in % | loss | CPU-s |\n| --- | --- | --- | --- |")
    for part in options.only or PARTS:
        results = [train(PARTS[part], SEED + number, options.dataset) for number in range(options.seeds)]
        wers, losses, seconds = zip(*results, strict=True)
        each = f" ({', '.join(f'{100 * one:.1f}' for one in wers)})" if len(wers) > 1 else ""
        mean = f"{100 * statistics.mean(wers):.1f}{each} | {statistics.mean(losses):.2f}"
        print(f"| {part} | {mean} | {statistics.mean(seconds):.0f} |", flush=True)


def train(variables: dict[str, str], seed: int, dataset: Path) -> tuple[float, float, float]:
    """Train and return (validation WER, validation loss, CPU-seconds)."""
    with tempfile.TemporaryDirectory() as logs:
        own = {"ds_dataset_path": str(dataset), "ds_logs_dir": logs, "ds_random_seed": str(seed), **variables}
        quiet = {"ds_limit_test": "1", "ds_report_count": "0", "ds_decoder": "greedy", "ds_decoders": ""}
        quiet |= {"ds_validation_step": "100000", "ds_display_step": "0", "ds_checkpoint_dir": "", "ds_export_dir": ""}
        environment = {**os.environ, **quiet, **own}
        command = [str(ROOT / "bin" / "run-an4.sh")]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        (run,) = Path(logs).iterdir()
        results: dict[str, Any] = json.loads((run / "hyper.json").read_text("utf-8"))["results"]
        last = json.loads((run / "history.json").read_text("utf-8"))["epochs"][-1]
    return results["last_validation_wer"], last["validation_loss"], results["cpu_seconds"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=ROOT.parent / "shared" / "speech" / "an4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    return parser.parse_args()


if __name__ == "__main__":
    main()
