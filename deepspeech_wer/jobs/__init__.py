"""Training jobs. A tick submits a job, a supervisor process runs and judges it, and a tick collects the outcome.

A runner (interface: `runner`, this machine: `local`) starts a supervisor for a work directory (`work`). The supervisor
runs the job, records its output (`output`) and GPU samples (`gpu`), watches for the kernel's out-of-memory killer
(`memory`), and writes the outcome (`outcome`).
"""
