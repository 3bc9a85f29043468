"""Judges merges by the word error rates of their trainings: what changed, by how much, and which merge did it.

Pure but for `utterances.read`: the callers pass in the archived runs as `series.Draw` records. docs/verdicts.md
explains the method.
"""
