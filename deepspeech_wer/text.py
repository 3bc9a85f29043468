"""Text that others wrote, as it may be shown: branch names, subjects, authors, file names, a job's or a host's output.

A busy tick loads this module, so keep it light.
"""

_UNITS = {"KB": 3, "MB": 6, "GB": 9, "TB": 12}  # powers of ten
# Letters and a pattern by category, so that `isprintable` takes them; they are drawn as nothing.
_INVISIBLE = "\u115f\u1160\u2800\u3164\uffa0"


def plain(text: str) -> str:
    """Return `text` on one line, with every character escaped that is not plainly visible.

    Escaped are line breaks and all other control characters (C0, DEL, C1): they move a terminal's cursor, set its
    colours or title, or forge a line of a log. So is what turns the direction of writing or is invisible (Unicode's
    category Cf), every space but the usual one, and an unpaired surrogate: a byte of a file name that is no UTF-8.
    An escape reads as in Python: `\\x1b`, `\\u202e`. What is visible stays, whatever the script.
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(
        character if character.isprintable() and character not in _INVISIBLE else _escaped(character)
        for character in text
    )


def in_bytes(size: int) -> str:
    """Return a number of bytes for people: `999 bytes`, `1.5 KB`, `31 KB`."""
    if size < 1000:
        return f"{size} bytes"
    scaled, unit = next((size / 10**power, unit) for unit, power in _UNITS.items() if size < 999.5 * 10**power)
    return f"{scaled:.0f} {unit}" if scaled >= 10 and unit != "GB" else f"{scaled:.1f} {unit}"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode hides it (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    if character in _INVISIBLE:
        return f"\\u{code:04x}"
    return repr(character)[1:-1]
