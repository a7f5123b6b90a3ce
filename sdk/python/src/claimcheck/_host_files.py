"""Files and folders of this host, as a plan carries them."""

from __future__ import annotations

import base64
import os
import stat
from typing import Any, Optional


def read_file(path: str, source: str, mode: Optional[str], owner: Optional[str]) -> list[dict[str, Any]]:
    """One file, and what a link leads to where source is one."""
    return [_file(path, source, mode or _mode_of(os.stat(source)), owner)]


def read_folder(path: str, source: str, owner: Optional[str]) -> list[dict[str, Any]]:
    """A folder with all that is in it, in the order of its names. Links in it stay links."""
    placed: list[dict[str, Any]] = [{"path": path, "mode": _mode_of(os.stat(source)), **_owned(owner)}]
    for name in sorted(os.listdir(source), key=os.fsencode):
        here, there = f"{source}/{name}", f"{'' if path == '/' else path}/{name}"
        status = os.lstat(here)
        if stat.S_ISDIR(status.st_mode):
            placed += read_folder(there, here, owner)
        elif stat.S_ISLNK(status.st_mode):
            placed.append({"path": there, "link": os.readlink(here)})
        elif stat.S_ISREG(status.st_mode):
            placed.append(_file(there, here, _mode_of(status), owner))
        else:
            raise ValueError(f"{here} is neither a file nor a folder nor a link")
    return placed


def _file(path: str, source: str, mode: str, owner: Optional[str]) -> dict[str, Any]:
    with open(source, "rb") as file:
        content = base64.b64encode(file.read()).decode()
    return {"path": path, "content": content, "mode": mode, **_owned(owner)}


def _owned(owner: Optional[str]) -> dict[str, str]:
    return {} if owner is None else {"owner": owner}


def _mode_of(status: os.stat_result) -> str:
    return f"0{status.st_mode & 0o777:03o}"
