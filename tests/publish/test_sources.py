"""The files to publish."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech_wer import delta
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import sources
from deepspeech_wer.publish.plan import INDEX


def test_the_index_comes_last(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    (tmp_path / INDEX).write_text("2")
    found = sources.read(tmp_path, sources.scan(tmp_path, [INDEX, "a.js"]), {})
    assert list(found) == ["a.js", INDEX]


def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    entry = sources.read(tmp_path, sources.scan(tmp_path, ["a"]), {})["a"]
    (tmp_path / "a").write_text("2")
    with pytest.raises(Trouble, match="changed while"):
        list(delta.read(tmp_path / "a", entry.sha256, 10))


@pytest.mark.parametrize("place", ["js", "js/a.js", "runs/x", "runs/x/out.log"])
def test_nothing_is_published_through_a_link(tmp_path: Path, place: str) -> None:
    """A job can write into the site."""
    names = ["js/a.js", "runs/x/out.log"]
    for root in ("site", "foreign"):
        for name in names:
            (tmp_path / root / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / root / name).write_text("key")
    sources.scan(tmp_path / "site", names)
    (tmp_path / "site" / place).rename(tmp_path / "aside")
    (tmp_path / "site" / place).symlink_to(tmp_path / "foreign" / place)
    with pytest.raises(Trouble, match="remove it, and build again"):
        sources.scan(tmp_path / "site", names)
    (tmp_path / "link").symlink_to("site")
    (tmp_path / "site" / place).unlink()
    (tmp_path / "aside").rename(tmp_path / "site" / place)
    assert set(sources.scan(tmp_path / "link", names)) == set(names)
