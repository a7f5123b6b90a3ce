"""Where chains run: in a `claimcheck run --stdio`, which is sent a request and answers with events."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from typing import Any, Optional

# Of an event, in bytes; one of output holds some 256 KiB in base64.
_LINE_LIMIT = 16 * 1024 * 1024


@dataclass(frozen=True)
class Result:
    stdout: str
    stderr: str
    exit_code: int


class RunError(Exception):
    """A command that failed, with what it printed; or a run that could not be.

    The code is "command_failed" for a command of the chain, "not_installed" where the claimcheck command could not be
    started, "no_answer" where it ended without an answer, or a code of docs/reference/errors.md. stdout and stderr are
    what the command that failed printed, with known secrets masked; with "no_answer", what claimcheck printed.
    """

    def __init__(self, message: str, code: str, result: Result) -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = result.exit_code
        self.stdout = result.stdout
        self.stderr = result.stderr


class _Outcome:
    """What the events of a run come to."""

    def __init__(self) -> None:
        self.last = 0
        self.printed = {"stdout": bytearray(), "stderr": bytearray()}
        self.exit_code: Optional[int] = None
        self.failure: Optional[dict[str, Any]] = None

    def take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "step":
            self.last = event["step"] + 1
            self.printed = {"stdout": bytearray(), "stderr": bytearray()}
        elif kind in self.printed:
            self.printed[kind] += base64.b64decode(event["data"])
        elif kind == "end":
            self.exit_code = event["code"]
        elif kind == "error":
            self.failure = event

    def finish(self, steps: int, want: str, complaint: str, status: int) -> Result:
        stdout, stderr = (self.printed[name].decode(errors="replace") for name in ("stdout", "stderr"))
        if self.failure:
            result = Result(stdout, stderr, self.failure["exitCode"])
            raise RunError(_message(self.failure), self.failure["code"], result)
        if self.exit_code is None:
            message = complaint or f"claimcheck ended with exit code {status} and without an answer"
            raise RunError(message, "no_answer", Result(stdout, complaint, status))
        result = Result(stdout, stderr, self.exit_code)
        if self.exit_code != 0 and (want != "exitCode" or self.last < steps):
            message = f"step {self.last} of {steps} ended with exit code {self.exit_code}"
            raise RunError(message, "command_failed", result)
        return result


def _message(failure: dict[str, Any]) -> str:
    title, detail = failure["title"], failure.get("detail")
    return title if detail is None else f"{title.rstrip('.')}: {detail}"


def _event_in(line: bytes) -> Optional[dict[str, Any]]:
    """A line that is no event comes from another program: its end without an answer is then the error."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "type" in event else None


def _not_started(command: str, error: OSError) -> RunError:
    reason = errno.errorcode.get(error.errno or 0, "unknown error")
    message = (
        f"The command {command} could not be started ({reason}): "
        'install it with "npm install --global claimcheck", or set CLAIMCHECK_COMMAND to its path'
    )
    return RunError(message, "not_installed", Result("", "", 127))


async def run(request: dict[str, Any], want: str) -> Result:
    """Raises RunError when a command fails, the last one too unless its exit code is what is wanted."""
    command = os.environ.get("CLAIMCHECK_COMMAND") or "claimcheck"
    try:
        child = await asyncio.create_subprocess_exec(
            command, "run", "--stdio", stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=_LINE_LIMIT
        )
    except OSError as error:
        raise _not_started(command, error) from error
    assert child.stdin and child.stdout and child.stderr
    complaint = asyncio.ensure_future(child.stderr.read())
    outcome = _Outcome()
    try:
        child.stdin.write(encode(request) + b"\n")
        async for line in child.stdout:
            event = _event_in(line)
            if event is not None:
                outcome.take(event)
    finally:
        # If the run is still under way, this cancels it.
        child.stdin.close()
        status = await child.wait()
    text = (await complaint).decode(errors="replace").strip()
    return outcome.finish(len(request["plan"]["steps"]), want, text, status)


def encode(document: dict[str, Any]) -> bytes:
    """The same bytes as every other front end makes."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
