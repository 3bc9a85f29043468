"""Builds the site from the archived runs. It works on any web server and from file://."""

from deepspeech_wer.dashboard.assets import assets, count, site_files, site_names
from deepspeech_wer.dashboard.heard import Heard
from deepspeech_wer.dashboard.judged import Judged, decided, judged
from deepspeech_wer.dashboard.project import Project
from deepspeech_wer.dashboard.site import build

__all__ = [
    "Heard",
    "Judged",
    "Project",
    "assets",
    "build",
    "count",
    "decided",
    "judged",
    "site_files",
    "site_names",
]
