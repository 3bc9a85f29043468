"""The archive, judged: what the tracker measures in each run, compares, makes of it for verdicts.json, and keeps.

`verdicts` has the statistics, without files. Here they meet the archive, the decisions of people and the cache.
"""
