#!/usr/bin/env -S bash -p
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
# The job sees little else of its user's surroundings; docs/job.md lists what it sees. bash -p ignores functions
# and start-up files that the environment names.
#
# Exit code: 0 done, 2 unusable settings, 65 the training diverged else it failed, also where nothing was trained.
set -euo pipefail

given_path=${PYTHONPATH:-}

# Hide every variable but these. The others were set for other work, and many of them change what libraries do.
hide_surroundings() {
    local name
    for name in $(compgen -e); do
        case $name in
            ds_* | HOME | USER | LOGNAME | SHELL | TERM | TZ | PATH | PWD | TMPDIR | VIRTUAL_ENV) ;;
            LD_LIBRARY_PATH | LD_PRELOAD | MALLOC_* | GLIBC_TUNABLES | XDG_RUNTIME_DIR | SSH_AUTH_SOCK) ;;
            XDG_*_HOME) [[ ${!name} == /* ]] || export -n "${name?}" ;; # a relative one is invalid
            *_proxy | *_PROXY | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE | SSL_CERT_FILE | SSL_CERT_DIR | NETRC) ;;
            CUDA_* | NCCL_* | HIP_* | ROCR_VISIBLE_DEVICES | NVIDIA_VISIBLE_DEVICES | NVIDIA_DRIVER_CAPABILITIES) ;;
            TF_CPP_* | TF_FORCE_GPU_ALLOW_GROWTH | TF_GPU_ALLOCATOR) ;;
            TF_CONFIG | SLURM_* | SLURMD_*) ;; # for ds_distribute
            *) export -n "${name?}" ;;
        esac
    done
}
hide_surroundings
# The transcripts' letters are UTF-8, whatever the locale; PYTHONUTF8 holds where C.UTF-8 does not exist.
# Keras imports matplotlib.
export LANG=C.UTF-8 PYTHONUTF8=1 MATPLOTLIBRC=/dev/null
umask u+rwx # what the job writes it reads again
unset -v FUNCNEST # bash -p obeys it

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
    "$@" -c 'import sys; from importlib.util import find_spec as f; sys.exit(not (f("tensorflow") and f("nbconvert")))' \
        2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${ds_python:+"$ds_python"} ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} "$root/.venv/bin/python" python3; do
        # Packages in the home directory, and those on PYTHONPATH, are other work's, unless TensorFlow itself is there.
        if can_train "$candidate" -P -s || can_train "$candidate" -P ||
            { [[ $given_path ]] && PYTHONPATH=$given_path can_train "$candidate" -P; }; then
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
[[ $python != */* || $python == /* ]] || python=$PWD/$python

# Print a new directory in $1, or why there is none. A full disk may have room for a directory, and for no file in it.
new_directory() {
    local made
    [[ $1 == /* ]] || set -- "$PWD/$1"
    made=$(mktemp -d -- "$1/tmp.XXXXXXXXXX") || return
    if head -c 1000000 /dev/zero >"$made/room"; then
        rm -- "$made/room"
        echo "$made"
    else
        rm -rf -- "$made"
        return 1
    fi
}

if ! work=$(new_directory "${TMPDIR:-/tmp}" 2>&1) && [[ ${TMPDIR:-/tmp} != /tmp ]]; then
    echo "${0##*/}: TMPDIR=$TMPDIR: ${work##*: }: taking /tmp" >&2 || true
    export TMPDIR=/tmp
    work=$(new_directory /tmp 2>&1) || true
fi
if [[ ! -d $work ]]; then
    echo "${0##*/}: /tmp: ${work##*: }: make room there, or set TMPDIR to a directory that can be written" >&2
    exit 1
fi
trap 'rm -rf -- "$work"' EXIT

# The checkout's package, not an installed one: -P excludes the working directory, PYTHONPATH puts the root first.
export PYTHONPATH="$root"
options=(-P -s)
if ! can_train "$python" "${options[@]}"; then
    options=(-P)
    can_train "$python" "${options[@]}" || export PYTHONPATH="$root:$given_path"
fi

# In a batch job of Slurm with several tasks, this script runs once more in each of them.
if [[ ${ds_distribute:-} == slurm* && ${SLURM_JOB_ID:-} && ! ${SLURM_STEP_ID:-} ]] &&
    ((${SLURM_NTASKS:-1} > 1 || ${SLURM_JOB_NUM_NODES:-1} > 1)); then
    rm -rf -- "$work"
    PYTHONPATH="$root" exec "$python" "${options[@]}" -u -m deepspeech_wer.training.launch \
        "$root/bin/run-wer-automation.sh" ${ds_checkpoint_dir:+--checkpoint_dir "$ds_checkpoint_dir"}
fi

# nbconvert's own templates lie where it was installed, which need not be where the interpreter looks for them.
templates='
from importlib.metadata import files
found = [one for one in files("nbconvert") or () if one.match("share/jupyter/nbconvert/templates/script/conf.json")]
print(found[0].locate().resolve().parents[3] if found else "")'

# To a file, not a pipe: if the conversion failed, python would run an empty pipe as a valid program. In a directory and
# a home of its own: nbconvert's configuration and templates may lie in either.
(
    PYTHONUSERBASE=$("$python" -P -c 'import site; print(site.getuserbase())')
    JUPYTER_PATH=$("$python" "${options[@]}" -c "$templates")
    cd "$work"
    export PYTHONUSERBASE JUPYTER_PATH HOME=$work TMPDIR=$work JUPYTER_NO_CONFIG=1
    export XDG_CACHE_HOME=$work XDG_CONFIG_HOME=$work XDG_DATA_HOME=$work
    exec "$python" "${options[@]}" -m nbconvert --log-level=ERROR --to script --output-dir "$work" --output job \
        "$root/deepspeech_wer/training/DeepSpeech.ipynb"
)

# The script is opened, then removed: nothing is left to clean up, so python can replace this process and receive the
# signals that are sent to the job.
exec {script}<"$work/job.py"
rm -rf -- "$work"
exec "$python" "${options[@]}" -u -m deepspeech_wer.training "/dev/fd/$script"
