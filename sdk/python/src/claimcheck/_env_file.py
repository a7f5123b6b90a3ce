"""The secrets of a .env file. docs/env-files.md has the grammar, and test/vectors/env/ is what every reader agrees on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._secret import Secret, set_secret

_LIMIT = 1024 * 1024
"""Of a file, in bytes."""

_IGNORED_LINE = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_START = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=")
_SINGLE_QUOTED = re.compile(r"[ \t]*'([^']*)'")
_DOUBLE_QUOTED = re.compile(r'[ \t]*"([^"\\]*(?:\\[\s\S][^"\\]*)*)"')
_REST_OF_QUOTED = re.compile(r"[ \t]*(?:\n|\Z)|[ \t]+#[^\n]*")
_UNQUOTED = re.compile(r"[^\n]*")
_ESCAPES = {'"': '"', "\\": "\\", "$": "$", "n": "\n", "r": "\r", "t": "\t"}


def env_file(path: str) -> list[Secret]:
    """One secret for each variable in the file, with its name. They go to the executor as those of set_secret do."""
    with open(path, "rb") as file:
        content = file.read(_LIMIT + 1)
    if len(content) > _LIMIT:
        raise ValueError(f"{path} has more than {_LIMIT} bytes")
    found = {name: set_secret(name, value) for name, value in _parse(content, path)}
    return list(found.values())


def _parse(content: bytes, path: str) -> Iterator[tuple[str, str]]:
    text = _decode(content, path)

    def wrong(why: str, place: int) -> ValueError:
        return ValueError(f"{path}:{text.count(chr(10), 0, place) + 1}: {why}")

    at = 0
    while at < len(text):
        ignored = _IGNORED_LINE.match(text, at)
        if ignored:
            at = ignored.end()
            continue
        start = _START.match(text, at)
        if not start:
            raise wrong("this is not NAME=VALUE", at)
        name, at = start[1], start.end()
        quoted = _SINGLE_QUOTED.match(text, at) or _DOUBLE_QUOTED.match(text, at)
        if not quoted:
            rest = _UNQUOTED.match(text, at)[0]
            if rest.lstrip(" \t")[:1] in ('"', "'"):
                raise wrong("this quote is not closed", at)
            at += len(rest)
            yield name, re.sub(r"[ \t]#.*", "", rest).strip(" \t")
            continue
        value, at = quoted[1], quoted.end()
        if quoted[0].endswith('"'):
            for escape in re.finditer(r"\\([\s\S])", value):
                if escape[1] not in _ESCAPES:
                    why = "this escape is not known; in single quotes a backslash is a backslash"
                    raise wrong(why, quoted.start(1) + escape.start())
            value = re.sub(r"\\([\s\S])", lambda escape: _ESCAPES[escape[1]], value)
        after = _REST_OF_QUOTED.match(text, at)
        if not after:
            raise wrong("only a comment may follow the closing quote", at)
        at = after.end()
        yield name, value


def _decode(content: bytes, path: str) -> str:
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            # Without its cause, which holds the line.
            raise ValueError(f"{path}:{number}: this line is not UTF-8") from None
        if b"\0" in line:
            raise ValueError(f"{path}:{number}: this line has a NUL byte")
        if b"\r" in line[:-1]:
            raise ValueError(f"{path}:{number}: this line has a carriage return inside")
    text = content.decode().replace("\r", "")
    return text[1:] if text.startswith("\ufeff") else text
