#!/usr/bin/env -S bash -p
# A smoke test: overfit one utterance within seconds. A word error rate other than 0 means that something is broken.
#
#     ./bin/run-ldc93s1.sh [--checkpoint_dir DIR]
#
# The utterance is downloaded, or taken from ds_mirror_url. Every ds_* variable of the environment has precedence.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

export ds_importer=${ds_importer:-ldc93s1}
export ds_n_hidden=${ds_n_hidden:-100}
export ds_train_batch_size=${ds_train_batch_size:-1}
export ds_epochs=${ds_epochs:-100}
export ds_learning_rate=${ds_learning_rate:-0.002}
export ds_dropout_rate=${ds_dropout_rate:-0}
export ds_validation_step=${ds_validation_step:-25}
export ds_display_step=${ds_display_step:-25}

exec "$root/bin/run-wer-automation.sh" "$@"
