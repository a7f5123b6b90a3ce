"""The secrets of a .env file.

A line is NAME=VALUE, and may begin with export; quotes around a value are no part of it, and nothing is expanded. Lines
that are empty or begin with # do not count; of two with one name the last one does.
"""

from __future__ import annotations

import re

from ._secret import Secret, set_secret

_IGNORED = re.compile(rb"[ \t\r]*(#|$)")
_FORM = re.compile(rb"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*?)[ \t\r]*")


def env_file(path: str) -> list[Secret]:
    """One secret for each variable in the file, with its name. They go to the executor as those of set_secret do."""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    found: dict[str, Secret] = {}
    for number, line in enumerate(lines, 1):
        if _IGNORED.match(line):
            continue
        match = _FORM.fullmatch(line)
        if not match:
            raise ValueError(f"{path}:{number}: this is not NAME=VALUE")
        name, value = match[1].decode(), match[2]
        if len(value) > 1 and value[:1] in b"\"'" and value[:1] == value[-1:]:
            value = value[1:-1]
        found[name] = set_secret(name, value)
    return list(found.values())
