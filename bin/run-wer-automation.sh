#!/usr/bin/env bash
# The job: train and test the network of this checkout once. The tracker calls it after every merge:
#
#     ./bin/run-wer-automation.sh [--checkpoint_dir DIR]
#
# It converts deepspeech_wer/training/DeepSpeech.ipynb to a script and runs it with the modules beside it. All settings
# are ds_* variables (python -c 'from deepspeech_wer.training import parameters as p; print(*p.table(), sep="\n")').
#
#   ds_python   the interpreter; unset: the first of $VIRTUAL_ENV, ./.venv and python3 with TensorFlow and nbconvert.
#               The tracker sets it to its own interpreter, because cron's PATH does not include virtual environments.
#
# Exit code: 0 done, 2 unusable settings, 65 the training diverged else it failed.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

while (($#)); do
    case $1 in
        --checkpoint_dir=*) export ds_checkpoint_dir=${1#*=} ;;
        --checkpoint_dir) export ds_checkpoint_dir=${2:?--checkpoint_dir needs a directory}; shift ;;
        *) echo "${0##*/}: unknown argument $1: expected --checkpoint_dir DIR" >&2; exit 2 ;;
    esac
    shift
done

can_train() {
    "$1" -c 'import sys; from importlib.util import find_spec as f; sys.exit(not (f("tensorflow") and f("nbconvert")))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${ds_python:+"$ds_python"} ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} "$root/.venv/bin/python" python3; do
        if can_train "$candidate"; then
            echo "$candidate"
            return
        fi
        if [[ $candidate == "${ds_python:-}" ]]; then
            break
        fi
    done
    if [[ ${ds_python:-} ]]; then
        echo "${0##*/}: ds_python=$ds_python cannot import tensorflow and nbconvert: install deepspeech-wer[training] there" >&2
    else
        echo "${0##*/}: none of \$VIRTUAL_ENV, $root/.venv and python3 can import tensorflow and nbconvert:" \
            "'$root/bin/install training' makes a .venv that can; or set ds_python to an interpreter" >&2
    fi
    return 1
}

python=$(find_python)
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# The checkout's package, not an installed one: -P excludes the working directory, PYTHONPATH puts the root first.
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

# To a file, not a pipe: if the conversion failed, python would run an empty pipe as a valid program.
"$python" -P -m nbconvert --log-level=ERROR --to script --output-dir "$work" --output job \
    "$root/deepspeech_wer/training/DeepSpeech.ipynb"

# The script is opened, then removed: nothing is left to clean up, so python can replace this process and receive the
# signals that are sent to the job.
exec {script}<"$work/job.py"
rm -rf -- "$work"
exec "$python" -P -u -m deepspeech_wer.training "/dev/fd/$script"
