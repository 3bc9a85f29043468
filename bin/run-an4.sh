#!/usr/bin/env bash
# A job that trains on AN4 (CMU 1991, spelled names and numbers): n_cell_dim 128, one thread, within 300 CPU-seconds.
#
#     ./bin/run-an4.sh [--checkpoint_dir DIR]        or, for the tracker: ds_wer_automation=./bin/run-an4.sh
#
# ds_dataset_path is the directory of train.csv, dev.csv and test.csv; every other ds_* variable can be set from outside
# too. The values were chosen on the validation set.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

export ds_importer=${ds_importer:-csv}
export ds_dataset_path=${ds_dataset_path:-$root/../shared/speech/an4}
export ds_n_hidden=${ds_n_hidden:-128}
export ds_epochs=${ds_epochs:-56}
export ds_validation_step=${ds_validation_step:-5}
export ds_display_step=${ds_display_step:-5}
export ds_learning_rate=${ds_learning_rate:-0.002}
export ds_dropout_rate=${ds_dropout_rate:-0.15}
export ds_augment_tempo=${ds_augment_tempo:-0.15}
export ds_augment_pitch=${ds_augment_pitch:-0.1}
export ds_augment_frequency_masks=${ds_augment_frequency_masks:-1}
export ds_augment_time_masks=${ds_augment_time_masks:-1}
export ds_augment_noise=${ds_augment_noise:-0.1}

exec "$root/bin/run-wer-automation.sh" "$@"
