"""One training job: submitted by a tick, run by a supervisor of its own, judged, collected by a tick.

A runner (`runner`, and `local` for this machine) starts a supervisor for a work directory (`work`). The supervisor runs
the job, takes its output (`output`) and GPU samples (`gpu`), watches for the kernel's out-of-memory killer (`memory`),
and writes how the job ended (`outcome`).
"""
