"""The job contract: every name that the tracker and the job must agree on. Imports nothing.

`docs/job.md` describes the contract for the author of a job.
"""

# Variables that the tracker sets for a job.
LOGS_DIR = "ds_logs_dir"  # the job writes its results below this directory
CHECKPOINT_DIR = "ds_checkpoint_dir"  # kept between attempts
SHA = "ds_wer_sha"  # the commit that is checked out
ATTEMPT = "ds_wer_attempt"  # 1 for the first try
RERUN_OF = "ds_wer_rerun_of"  # the run that this one repeats with another seed
SEED = "ds_random_seed"
RUN_TOKEN = "ds_wer_run"  # noqa: S105 - in the environment of every process of a job, to find them by
PYTHON = "ds_python"  # the interpreter for the job; the tracker's own unless the user names one

DEFAULT_SCRIPT = "./bin/run-wer-automation.sh"
CHECKPOINT_OPTION = "--checkpoint_dir"  # the script's one argument, followed by the directory

# Files that the job writes into a directory below ds_logs_dir.
HYPER = "hyper.json"
UTTERANCES = "utterances.json"
HISTORY = "history.json"
GPU_USAGE = "gpu-usage.csv"  # if the tracker took samples, its file is archived instead

# Files into which the tracker writes the job's output.
OUT_LOG = "out.log"
ERR_LOG = "err.log"

# Exit codes of the job with a meaning of their own.
EXIT_BAD_SETTINGS = 2
EXIT_DIVERGED = 65  # EX_DATAERR of sysexits.h; the last line of stderr must then start with DIVERGED
DIVERGED = "diverged:"
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h; the last line of stderr must then start with INTERRUPTED
INTERRUPTED = "interrupted:"
