"""Text of any encoding that people's editors write, and names of any kind as one printable line."""

import codecs
from pathlib import Path

from limner.errors import UserError

MOST_SHOWN = 120  # characters of a name in a sentence
# The longest mark first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LINE_ENDS = str.maketrans({"\r": "\n", "\v": "\n", "\f": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n"})
# Of a text in a Western European language, about one letter in ten has an accent; of Shift-JIS or KOI8 read as
# Windows-1252, most bytes are above 127. What lies above this share is not guessed at.
_MOST_ACCENTS = 0.3


class UnknownEncoding(ValueError):
    """Bytes that are no text in an encoding that can be told for certain. The message completes "<file> ..."."""


def decode_text(data: bytes, *, is_data: bool = False) -> str:
    """The text of a file's bytes, every kind of line end as a line feed, without a byte order mark.

    Reads UTF-8, UTF-16 and UTF-32, each with and without a mark, and Windows-1252 (Latin-1) where accents are few.
    is_data: of JSON, TOML or YAML, in whose strings Unicode's own line ends stand for themselves; they stay.
    Raises UnknownEncoding for anything else, binary files included.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if encoding is not None:
        try:
            text = data.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise UnknownEncoding(f"begins as {encoding.upper()} text but is damaged; save it as UTF-8") from error
        return _lines(text, is_data)
    text = _without_mark(data)
    if text is None:
        raise UnknownEncoding("is not text in UTF-8, UTF-16, UTF-32 or Latin-1; save it as UTF-8")
    return _lines(text, is_data)


def read_text(path: Path, *, is_data: bool = False) -> str:
    """A file as `decode_text` reads it. Raises UserError that names it; FileNotFoundError if there is none."""
    try:
        return decode_text(path.read_bytes(), is_data=is_data)
    except UnknownEncoding as error:
        raise UserError(f"{display(path)} {error}") from error


def display(name: object, most: int = MOST_SHOWN) -> str:
    """A file's name or a stranger's text as one printable line of at most `most` characters.

    Line breaks and other control characters are escaped, bytes that are no UTF-8 are written \\xNN.
    """
    text = printable(str(name))
    if len(text) <= most:
        return text
    tail = most // 3  # the end of a path says most
    return f"{text[: most - tail - 3]}...{text[-tail:]}"


def printable(text: str) -> str:
    """A text of any length on one line, as `display` writes it."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def _lines(text: str, is_data: bool) -> str:
    text = text.replace("\r\n", "\n")
    return text.replace("\r", "\n") if is_data else text.translate(_LINE_ENDS)


def _without_mark(data: bytes) -> str | None:
    """The text of bytes without a byte order mark, or None."""
    try:
        text = data.decode("utf-8")
        if _is_text(text):
            return text
    except UnicodeDecodeError:
        pass
    wide = [text for name in ("utf-32-le", "utf-32-be") if (text := _tried(data, name)) is not None]
    if not wide:
        # Of the two byte orders one makes of spaces, digits and line ends characters that no text is made of.
        orders = {name: _tried(data, name) for name in ("utf-16-le", "utf-16-be")}
        wide = sorted((text for text in orders.values() if text is not None), key=_commonness, reverse=True)
        if wide and _commonness(wide[0]) == 0:
            wide = []
    if wide:
        return wide[0]
    text = data.decode("cp1252", "replace")
    accents = sum(byte > 127 for byte in data)
    return text if _is_text(text) and accents <= _MOST_ACCENTS * len(data) else None


def _tried(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return text if text and _is_text(text) else None


def _is_text(text: str) -> bool:
    return all(each >= " " or each in "\t\n\r\v\f" for each in text) and not any(
        ("\x7f" <= each < "\xa0" and each != "\x85") or each in "\ufffd\ufffe\uffff" for each in text
    )


def _commonness(text: str) -> float:
    """The share of characters that texts in every language have: spaces, line ends, ASCII's signs, digits, letters."""
    return sum(each < "\x7f" or each in "\u3000\u3001\u3002" for each in text) / len(text)
