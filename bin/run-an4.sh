#!/usr/bin/env -S bash -p
# Train on AN4 (CMU 1991: spelled names and numbers) with one thread:
#
#     ./bin/run-an4.sh [long] [--checkpoint_dir DIR]         or, in the tracker: ds_wer_automation=./bin/run-an4.sh
#
# n_cell_dim 128, within 300 CPU-seconds. long: the same network with more epochs and augmentation, 10 CPU-minutes.
# ds_dataset_path is the directory of train.csv, dev.csv and test.csv. Every ds_* variable in the environment overrides
# a value below. The values were tuned on the validation set; tests/benchmarks/ablation.py shows what each contributes.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

# Export each NAME=VALUE unless NAME is set.
defaults() {
    local pair name
    for pair; do
        name=${pair%%=*}
        [[ -n ${!name+set} ]] || export "${pair?}"
    done
}

if [[ ${1-} == long ]]; then
    shift
    defaults ds_epochs=170 ds_dropout_rate=0.15 ds_augment_tempo=0.2 ds_augment_pitch=0.15
fi
defaults ds_importer=csv ds_dataset_path="$root/../shared/speech/an4" ds_validation_step=10 ds_display_step=10
defaults ds_n_hidden=128 ds_epochs=50 ds_plain_epochs=5 ds_learning_rate=0.0025 ds_dropout_rate=0.05
defaults ds_augment_tempo=0.15 ds_augment_pitch=0.1 ds_augment_frequency_masks=1 ds_augment_time_masks=1
defaults ds_decoders=greedy,lm

exec "$root/bin/run-wer-automation.sh" "$@"
