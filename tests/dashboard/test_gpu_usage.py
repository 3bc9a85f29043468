"""Samples of GPUs as the page gets them, from the forms in which nvidia-smi prints them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from deepspeech_wer.dashboard import gpu_usage
from deepspeech_wer.dashboard.gpu_charts import picture
from deepspeech_wer.jobs import gpu

HEADER = ",".join(gpu.COLUMNS)
# nvidia-smi --query-gpu=... --format=csv,noheader,nounits --loop=5, on two cards, one of which tells little
QUERY = f"""{HEADER}
2023/11/10 13:05:01.123, 0, 97, 41, 10240, 24576, 71, 251.33
2023/11/10 13:05:01.125, 1, 0, 0, 3, 24576, [N/A], [Not Supported]
2023/11/10 13:05:06.130, 0, 99, 43, 10240, 24576, 72, 249.00
2023/11/10 13:05:06.131, 1, 0, 0, 3, 24576, [N/A], [Not Supported]
2023/11/10 13:05:11.1
"""
# nvidia-smi dmon -s pucvmet -o DT -d 5, driver 535
DMON = """#Date       Time        gpu    pwr  gtemp  mtemp     sm    mem    enc    dec   mclk   pclk     fb
#YYYYMMDD   HH:MM:SS    Idx      W      C      C      %      %      %      %    MHz    MHz     MB
 20231110   13:05:01      0    251     71      -     97     41      0      0   9501   1905  10240
 20231110   13:05:01      1     12     35      -      0      0      0      0    405    210      3
 20231110   13:05:06      0    249     72      -     99     43      0      0   9501   1905  10240
"""
# nvidia-smi dmon as drivers of 2016 print it: no times
DMON_2016 = """# gpu   pwr  temp    sm   mem   enc   dec  mclk  pclk
# Idx     W     C     %     %     %     %   MHz   MHz
    0    61    44    98    55     0     0  3504  1455
    1    59    43     -     -     -     -  3504  1455
    0    62    45    96    55     0     0  3504  1455
    1    59    43     -     -     -     -  3504  1455
"""


def read(tmp_path: Path, text: str, **limits: float) -> dict[str, Any] | None:
    path = tmp_path / "gpu-usage.csv"
    path.write_text(text)
    return gpu_usage.usage(path, **limits)


def test_the_names_are_those_of_the_sampler() -> None:
    assert tuple(name for name in gpu.COLUMNS if name not in ("timestamp", "index")) == gpu_usage.METRICS
    assert gpu_usage.EVERY_S == gpu.EVERY_S


def test_samples_of_the_tracker(tmp_path: Path) -> None:
    found = read(tmp_path, QUERY)
    assert found
    assert (found["every"], found["count"]) == (5, 2)
    first, second = found["gpus"]
    assert first["gpu_percent"] == [97.0, 99.0]
    assert first["power_watts"] == [251.3, 249.0]
    assert second["gpu_percent"] == [0.0, 0.0]
    assert "temperature_celsius" not in second  # not available is not 0
    assert "power_watts" not in second


def test_dmon_with_times(tmp_path: Path) -> None:
    found = read(tmp_path, DMON)
    assert found
    first, second = found["gpus"]
    assert first["gpu_percent"] == [97.0, 99.0]
    assert first["memory_used_mib"] == [10240.0, 10240.0]
    assert second["temperature_celsius"] == [35.0, None]


def test_dmon_of_2016(tmp_path: Path) -> None:
    found = read(tmp_path, DMON_2016)
    assert found
    first, second = found["gpus"]
    assert first["gpu_percent"] == [98.0, 96.0]
    assert second["temperature_celsius"] == [43.0, 43.0]
    assert "gpu_percent" not in second


def test_a_week_is_at_most_1000_buckets(tmp_path: Path) -> None:
    hours = [
        f"2023/11/{day:02} {hour:02}:00:00.0, 0, {hour}, 1, 1, 1, 1, 1"
        for day in (1, 2, 3, 5, 6, 7)  # on the 4th it was off
        for hour in range(24)
    ]
    found = read(tmp_path, "\n".join([HEADER, *hours]))
    assert found
    assert found["count"] <= gpu_usage.MAX_BUCKETS
    assert found["gpus"][0]["gpu_percent"][0] == 0.0
    assert None in found["gpus"][0]["gpu_percent"]


@pytest.mark.parametrize("every_s", [5, 7, 60, 600])
def test_samples_that_are_far_apart_make_a_line(tmp_path: Path, every_s: int) -> None:
    """With a bucket per 5 s, samples a minute apart were single points, which a line does not show."""
    start = datetime(2023, 11, 10, 13, 5, tzinfo=UTC)
    times = [start + timedelta(seconds=every_s * n + n % 3 / 10) for n in range(200)]
    lines = [
        f"{at:%Y/%m/%d %H:%M:%S}.{at.microsecond // 1000:03}, {gpu}, 9, 1, 1, 1, 1, 1" for at in times for gpu in (0, 1)
    ]
    found = read(tmp_path, "\n".join([HEADER, *lines]))
    assert found
    assert found["every"] == every_s
    for one in found["gpus"]:
        assert one["gpu_percent"].count(None) <= 2


def test_one_file_of_many_runs_is_cut_to_the_run(tmp_path: Path) -> None:
    found = read(tmp_path, QUERY, since=1699621505)  # 13:05:05
    assert found
    assert found["gpus"][0]["gpu_percent"] == [99.0]


@pytest.mark.parametrize(
    "text",
    ["", HEADER, "Failed to initialize NVML: Driver/library version mismatch\n", "\0\1\2", f"{HEADER}\n2023/11/10, x\n",
     f"{HEADER}\n2023/11/10 13:05:01.123, 1e9, 97, 41, 1, 1, 1, 1", f"{HEADER}\nt, nan, 97"],
)  # fmt: skip
def test_what_holds_no_sample_is_none(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) is None
    assert gpu_usage.usage(tmp_path / "missing") is None


def test_the_picture_has_a_chart_per_metric_and_gpu(tmp_path: Path) -> None:
    found = read(tmp_path, QUERY)
    assert found
    tree = ElementTree.fromstring(picture(found, "a <b> & c"))  # noqa: S314 - our own
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert "a <b> & c" in texts
    assert sum(bool(text and text.startswith("GPU ")) for text in texts) == 10
    assert texts.count("not available") == 2
