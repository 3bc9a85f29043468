"""Several test sets: each has its own series, and the steps of one merge in several of them are one event."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from deepspeech_wer.verdicts.findings import Effect, Event, Mark
from deepspeech_wer.verdicts.judge import Judgement

MAIN = "test_wer"  # the name of the main set, beside those that the job gives to the others
_TOLD = (b"worse", b"suspect", b"recovered", b"better", b"failed")  # verdicts that are told, the gravest first
_GRAVITY = {state: number for number, state in enumerate(_TOLD)}
_QUIET = len(_TOLD)
STATES = ("open", "suspect", "accepted", "recovered", "cannot tell", "dismissed")  # the first one of an event's sets


def combined(main: Judgement, others: Mapping[str, Judgement], places: Mapping[str, int]) -> Judgement:
    """Return the judgement of the main set, with the events and wishes of the others.

    `places` has the place in history of each merge that ran, by SHA.
    """
    judged = {MAIN: main, **dict(sorted(others.items()))}
    if not others:
        return main
    events = [(name, event) for name, one in judged.items() for event in one.events]
    wishes = ((name, one.next_retraining) for name, one in judged.items() if one.next_retraining)
    name, wish = next(wishes, (MAIN, None))
    return replace(
        main,
        events=tuple(_merged(events, places)),
        gaps=next((one.gaps for one in judged.values() if one.gaps), ()),
        next_retraining=wish._replace(why=f"{wish.why}, on {name}") if wish and name != MAIN else wish,
        notes=tuple(dict.fromkeys(note for one in judged.values() for note in one.notes)),
        marks=tuple(_marks(judged, places)),
    )


def _merged(events: Sequence[tuple[str, Event]], places: Mapping[str, int]) -> list[Event]:
    """Return one event for each merge, in the order in which they begin."""
    raised = {sha[:12]: place for sha, place in places.items()}
    groups: list[list[tuple[str, Event]]] = []
    for name, event in events:
        for group in groups:
            if name not in [other for other, _ in group] and any(_is_same(event, other) for _, other in group):
                group.append((name, event))
                break
        else:
            groups.append([(name, event)])
    found = sorted((_one(group, raised) for group in groups), key=lambda event: (places.get(event.start, 0), event.id))
    names: dict[str, int] = {}
    for number, event in enumerate(found):
        names[event.id] = names.get(event.id, 0) + 1
        if names[event.id] > 1:
            found[number] = event._replace(id=f"{event.id}-{names[event.id]}")
    return found


def _is_same(one: Event, other: Event) -> bool:
    """Whether one merge explains both."""
    return one.start in dict(other.culprits) or other.start in dict(one.culprits)


def _one(group: Sequence[tuple[str, Event]], raised: Mapping[str, int]) -> Event:
    """Return the event of a group: told as in the set that shows it most clearly, the main one of equals.

    Its id is that of the set that showed it first, so that it stays the same when others follow.
    """
    name, shown = min(group, key=lambda pair: STATES.index(pair[1].state))
    sets = {each: Effect(event.step_pp, event.interval_pp, event.state) for each, event in group}
    first = min((event.id for _, event in group), key=lambda event_id: raised.get(event_id[:12], 0))
    return shown._replace(id=first, test_set=None if name == MAIN else name, sets=sets)


def _marks(judged: Mapping[str, Judgement], places: Mapping[str, int]) -> list[Mark]:
    found: dict[tuple[str, str], Mark] = {}
    for name, one in judged.items():
        for mark in one.marks:
            if (mark.run, mark.text) not in found:
                text = mark.text if name == MAIN else f"{name}: {mark.text}"
                found[mark.run, mark.text] = mark._replace(text=text)
    return sorted(found.values(), key=lambda mark: places.get(mark.sha, 0))


@dataclass(frozen=True)
class Lines:
    """The verdicts of several test sets, a JSON line each, and what was made of them; an empty line is no verdict."""

    main: Sequence[bytes] = ()
    others: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    together: Sequence[bytes] = ()  # as many as of the main set


def lines(main: Sequence[bytes], others: Mapping[str, Sequence[bytes]], before: Lines) -> list[bytes]:
    """Return the verdicts of the main set, a JSON line each, with those of the other sets in `sets`.

    Where the main set shows nothing and another one does, that one is the verdict, and `test_set` names it. `before`
    was made earlier: what is the same object there, up to the first difference in any set, is not made again.
    """
    others = dict(sorted(others.items()))
    same, starts = _as_before(main, others, before)
    of = {name: {_sha(line): line for line in told[starts[name] :] if line} for name, told in others.items()}
    made = [
        _line(line, {name: told[sha] for name, told in of.items() if (sha := _sha(line)) in told}) if line else line
        for line in main[same:]
    ]
    return [*before.together[:same], *made]


def _as_before(
    main: Sequence[bytes], others: Mapping[str, Sequence[bytes]], before: Lines
) -> tuple[int, Mapping[str, int]]:
    """Return how many lines of the main set need not be made again, and where each other set goes on."""
    nowhere = dict.fromkeys(others, 0)
    if list(before.others) != list(others):
        return 0, nowhere
    same = _common(main, before.main)
    place = {_sha(line): number for number, line in enumerate(main) if line}
    for name, told in others.items():
        first = _common(told, before.others[name])
        changed = [*told[first:], *before.others[name][first:]]
        same = min([same, *(place.get(_sha(line), same) for line in changed if line)])
    known = {_sha(line) for line in main[:same] if line}
    starts = {}
    for name, told in others.items():
        starts[name] = next((number for number, line in enumerate(told) if line and _sha(line) not in known), len(told))
    return same, starts


def _common(now: Sequence[bytes], before: Sequence[bytes]) -> int:
    """Return how many lines at the start are the same objects."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], zip(now, before, strict=False)))


def _line(line: bytes, others: Mapping[str, bytes]) -> bytes:
    if not others:
        return line
    own = {MAIN: line, **others}
    sets = b",".join(b"%s:{%s" % (json.dumps(name).encode("ascii"), _figures(told)) for name, told in own.items())
    shown = _shown(own)
    name = b"null" if shown == MAIN else json.dumps(shown).encode("ascii")
    return b'%s,"test_set":%s,"sets":{%s}}' % (own[shown][:-1], name, sets)


def _shown(own: Mapping[str, bytes]) -> str:
    """Return the test set whose verdict is told: the main one if it has a step, else the one with the gravest state."""
    gravity = {name: _GRAVITY.get(_state(line), _QUIET) for name, line in own.items()}
    return MAIN if gravity[MAIN] < _QUIET else min(gravity, key=gravity.__getitem__)


def _state(line: bytes) -> bytes:
    return line.split(b'"verdict":"', 1)[1].split(b'"', 1)[0]


def _sha(line: bytes) -> bytes:
    """Return what a line begins with: `{"sha":"..."`."""
    return line[: line.index(b",")]


def _figures(line: bytes) -> bytes:
    """Return a line from its verdict on: what differs between test sets."""
    return line[line.index(b'"verdict":') :]
