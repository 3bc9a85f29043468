"""The job contract: every name that the tracker and a job must agree on. Imports nothing.

`docs/job.md` describes the contract for the author of a job.
"""

# Variables that the tracker sets for a job.
LOGS_DIR = "ds_logs_dir"  # the job writes its results below this directory
CHECKPOINT_DIR = "ds_checkpoint_dir"  # kept from one attempt to the next
SHA = "ds_wer_sha"  # the commit that is checked out
ATTEMPT = "ds_wer_attempt"  # 1 for the first try
RUN_TOKEN = "ds_wer_run"  # noqa: S105 - marks all processes of a job, so that they can be found again
PYTHON = "ds_python"  # the interpreter for the job; the tracker's own unless the user names one

DEFAULT_SCRIPT = "./bin/run-wer-automation.sh"
CHECKPOINT_OPTION = "--checkpoint_dir"  # the script's one argument, followed by the directory

# Files that a job writes into a directory below ds_logs_dir.
HYPER = "hyper.json"
UTTERANCES = "utterances.json"
HISTORY = "history.json"
GPU_USAGE = "gpu-usage.csv"  # the tracker writes one too, and that one wins

# Files that the tracker writes of a job's output.
OUT_LOG = "out.log"
ERR_LOG = "err.log"

# Exit codes of a job that mean more than "failed".
EXIT_BAD_SETTINGS = 2
EXIT_DIVERGED = 65  # EX_DATAERR of sysexits.h; the last line on stderr then starts with DIVERGED
DIVERGED = "diverged:"
