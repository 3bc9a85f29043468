"""The load of the GPUs as a picture: SVG, which every browser shows, written without a library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

TITLES = {
    "gpu_percent": "GPU busy, %",
    "memory_controller_percent": "Memory controller busy, %",
    "memory_used_mib": "Memory used, MiB",
    "temperature_celsius": "Temperature, °C",
    "power_watts": "Power, W",
}
WIDTH, HEIGHT = 900, 200  # of one chart, in pixels
COLOURS = ("#0b5cad", "#b84a08", "#14683c", "#5b6672")
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 890, 34, 176


def picture(usage: dict[str, Any], title: str) -> str:
    """Return an SVG with a chart per metric and GPU, one below the other. `usage` is from gpu_usage.usage.

    What is not available has no line, and a chart that says so.
    """
    panels = [(name, gpu) for name in TITLES for gpu in usage["gpus"]]
    seconds = usage["every"] * (usage["count"] - 1)
    charts = [
        f'<g transform="translate(0 {40 + HEIGHT * place})">{_chart(name, gpu, seconds)}</g>'
        for place, (name, gpu) in enumerate(panels)
    ]
    height = 40 + HEIGHT * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="12" y="24" font-size="16">{escape(title)}</text>{"".join(charts)}</svg>\n'
    )


def _chart(name: str, gpu: dict[str, Any], seconds: int) -> str:
    values: Sequence[float | None] = gpu.get(name, ())
    known = [value for value in values if value is not None]
    heading = f'<text x="12" y="20">GPU {gpu["index"]}: {TITLES[name]}</text>'
    if not known:
        return f'{heading}<text x="{_LEFT}" y="60" fill="#55606d">not available</text>'
    top = 100.0 if name.endswith("_percent") else max(known) * 1.05 or 1.0
    path = _path(values, top)
    ticks = "".join(
        f'<path d="M{_LEFT} {_y(at, top):.1f}H{_RIGHT}" stroke="#e0e4e8"/>'
        f'<text x="{_LEFT - 6}" y="{_y(at, top) + 4:.1f}" text-anchor="end">{at:.0f}</text>'
        for at in (0.0, top / 2, top)
    )
    ends = (
        f'<text x="{_LEFT}" y="{_BOTTOM + 16}">0 min</text>'
        f'<text x="{_RIGHT}" y="{_BOTTOM + 16}" text-anchor="end">{seconds / 60:.0f} min</text>'
    )
    colour = COLOURS[gpu["index"] % len(COLOURS)]
    return f'{heading}{ticks}{ends}<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _path(values: Sequence[float | None], top: float) -> str:
    """Return the line; it is interrupted where a value is missing."""
    parts, pen = [], "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x = _LEFT + (_RIGHT - _LEFT) * place / max(len(values) - 1, 1)
        parts.append(f"{pen}{x:.1f} {_y(value, top):.1f}")
        pen = "L"
    lone = "h1" if len(parts) == 1 else ""
    return "".join(parts) + lone


def _y(value: float, top: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * min(max(value, 0.0), top) / top
