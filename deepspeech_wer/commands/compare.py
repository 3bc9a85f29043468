"""The command compare: two runs, for people, as Markdown, or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from deepspeech_wer import archive, hyper
from deepspeech_wer.commands import verdicts
from deepspeech_wer.commands.alignment import rows
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.dashboard import kept
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE
from deepspeech_wer.judging import pairs
from deepspeech_wer.judging.pairs import Pair
from deepspeech_wer.records import Run
from deepspeech_wer.repository import history
from deepspeech_wer.text import plain
from deepspeech_wer.verdicts import told

_MERGES, _UTTERANCES, _WORDS = 50, 5, 8  # listed for people; the JSON has more
_ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>|#~"})


def compare(options: argparse.Namespace) -> int:
    """Compare two runs. Raises Trouble if one is unknown or has no result."""
    current = every_setting.load()
    record = _record(current, options.before, options.after)
    if options.json:
        print(json.dumps(record, indent=1))
        return DONE
    for line in _markdown(record) if options.markdown else _text(record):
        say(line)
    return DONE


def _record(current: Settings, before: str, after: str) -> dict[str, Any]:
    places = current.places
    names = [archive.find(places.runs, name).id for name in (before, after)]
    loaded = kept.load(places.runs, places.kept, current.logs)
    old, new = (loaded.runs[loaded.runs.places[name]] for name in names)
    for run in (old, new):
        if run.hyper is None:
            raise Trouble(f"{run.id}: failed ({run.failure}): nothing to compare; `show` says more")
    ordered = loaded.runs.in_order()
    record = pairs.compare(places, Pair(old, new, ordered, verdicts.judged(current)["verdicts"], loaded.files))
    return {**record, "merges": _merges(current, old, new, ordered)}


def _merges(current: Settings, before: Run, after: Run, ordered: Sequence[Run]) -> list[dict[str, str]]:
    """Return the commits after one run up to another: from the mirror, else those that the archive has."""
    found = history.between(current.places.mirror, before.merge.sha, after.merge.sha)
    if found is None:
        listed = [run for run in ordered if run.rerun_of is None]
        ids = [run.id for run in listed]
        start, end = (ids.index(run.id) if run.id in ids else len(ids) for run in (before, after))
        own = {run.merge.sha: run.merge for run in listed[start + 1 : end + 1]}
        found = [(merge.sha, merge.author, merge.subject) for merge in own.values()]
    return [{"sha": sha, "author": author, "subject": subject} for sha, author, subject in found]


def _text(record: Mapping[str, Any]) -> Iterator[str]:
    for name in ("before", "after"):
        side = record[name]
        rate = hyper.shown(side["wer"])
        state = f", {side['verdict']}" if side["verdict"] else ""
        yield f"{name:<8}{side['sha'][:12]} {rate:>9}{state}  {side['subject']} ({side['author']})"
    yield from _overall(record)
    for one in record["sets"]:
        yield ""
        yield f"{one['verdict']}: {one['sentence']}"
        yield from (f"  {line}" for line in _words(one))
        for title, listed in _utterances(one):
            yield f"  {title}:"
            for utterance in listed:
                yield f"    {_about(utterance)}"
                yield from (f"      {line}" for line in rows(utterance["before"], utterance["after"]))
    yield from _rest(record)


def _rest(record: Mapping[str, Any]) -> Iterator[str]:
    if record["parameters"]:
        yield ""
        yield "parameters that differ:"
        yield from (f"  {_parameter(one)}" for one in record["parameters"])
    if record["merges"]:
        yield ""
        yield "merges between:"
        for one in record["merges"][:_MERGES]:
            yield f"  {one['sha'][:12]} {one['subject']} ({one['author']})"
        if len(record["merges"]) > _MERGES:
            yield f"  and {len(record['merges']) - _MERGES} more"


def _overall(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what holds for all test sets."""
    difference, noise = record["difference_pp"], record["noise"]
    if difference is not None:
        yield f"change  {difference:+.2f} pp"
    if noise:
        degrees = f"{noise['sigma_df']:g} degrees of freedom"
        yield (
            f"noise   two trainings of one commit differ by up to {noise['between_pp']:.2f} pp in 95 % of cases "
            f"(sigma {noise['sigma_pp']:.2f} pp, {degrees})"
        )
    for note in record["notes"]:
        yield f"note    {note}"
    if record["sets"]:
        yield f"note    {told.CAUTION}"


def _markdown(record: Mapping[str, Any]) -> Iterator[str]:
    before, after = record["before"], record["after"]
    yield f"### WER of {after['sha'][:8]} against {before['sha'][:8]}"
    yield ""
    yield "| | before | after | change | verdict |"
    yield "| --- | --- | --- | --- | --- |"
    if not record["sets"]:
        change = "" if record["difference_pp"] is None else f"{record['difference_pp']:+.2f} pp"
        yield f"| test | {hyper.shown(before['wer'])} | {hyper.shown(after['wer'])} | {change} | |"
    for one in record["sets"]:
        change = f"{100 * one['difference']:+.2f} pp"
        cells = (_safe(one["set"]), hyper.shown(one["before"]), hyper.shown(one["after"]), change, one["verdict"])
        yield f"| {' | '.join(cells)} |"
    yield ""
    for side in (before, after):
        yield f"- {side['sha'][:12]} {_safe(side['subject'])} ({_safe(side['author'])})"
    yield from (f"- {_safe(line[8:])}" for line in _overall(record) if not line.startswith("change"))
    yield from (f"- {_safe(one['sentence'])}" for one in record["sets"])
    yield from _markdown_list("Parameters that differ", [_parameter(one) for one in record["parameters"]])
    merges = [f"{one['sha'][:12]} {one['subject']} ({one['author']})" for one in record["merges"]]
    yield from _markdown_list("Merges between", merges)
    for one in record["sets"]:
        yield from _markdown_list(f"{one['set']}: words", list(_words(one)))
        for title, listed in _utterances(one):
            yield from ("", f"**{_safe(one['set'])}: {title}**", "")
            for utterance in listed:
                yield f"    {_about(utterance)}"
                yield from (f"      {line}" for line in rows(utterance["before"], utterance["after"]))


def _markdown_list(title: str, lines: Sequence[str]) -> Iterator[str]:
    if not lines:
        return
    yield from ("", f"**{_safe(title)}**", "")
    yield from (f"- {_safe(line)}" for line in lines[:_MERGES])
    if len(lines) > _MERGES:
        yield f"- and {len(lines) - _MERGES} more"


def _words(one: Mapping[str, Any]) -> Iterator[str]:
    """Yield the word errors that changed most."""
    changed = [word for word in one["words"] if word["before"] != word["after"]]
    changed.sort(key=lambda word: -abs(word["after"] - word["before"]))
    for word in changed[:_WORDS]:
        if word["said"] is None:
            what = f"{word['heard']} heard where nothing was said"
        elif word["heard"] is None:
            what = f"{word['said']} not heard"
        else:
            what = f"{word['said']} heard as {word['heard']}"
        yield f"{word['before']} -> {word['after']} times: {what}"


def _utterances(one: Mapping[str, Any]) -> Iterable[tuple[str, Sequence[Mapping[str, Any]]]]:
    worse, better = one["worse_utterances"], one["better_utterances"]
    listed = ((f"got worse ({one['worse']})", worse), (f"got better ({one['better']})", better))
    return [(title, found[:_UTTERANCES]) for title, found in listed if found]


def _about(utterance: Mapping[str, Any]) -> str:
    speaker = f", {utterance['speaker']}" if utterance["speaker"] else ""
    return f"{utterance['id']}{speaker}: {utterance['errors_before']} -> {utterance['errors_after']} errors"


def _parameter(one: Mapping[str, Any]) -> str:
    return f"{one['name']} {_value(one['before'])} -> {_value(one['after'])}"


def _value(value: Any) -> str:
    return "unset" if value is None else str(value)[:60]


def _safe(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return plain(" ".join(text.split())).translate(_ESCAPED)
