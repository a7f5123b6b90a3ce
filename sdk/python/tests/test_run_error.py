import asyncio
import os
import tempfile
import unittest
from unittest import mock

from claimcheck import RunError, container


def error_with(command: str) -> RunError:
    chain = container().from_("alpine").with_exec(["true"])
    with mock.patch.dict(os.environ, {"CLAIMCHECK_COMMAND": command}):
        try:
            asyncio.run(chain.sync())
        except RunError as error:
            return error
    raise AssertionError("the run did not fail")


def error_of(script: str) -> RunError:
    with tempfile.TemporaryDirectory() as folder:
        command = os.path.join(folder, "claimcheck")
        with open(command, "w") as file:
            file.write(f"#!/bin/sh\n{script}\n")
        os.chmod(command, 0o755)
        return error_with(command)


class RunErrorTest(unittest.TestCase):
    def test_missing_command_is_one_sentence_that_says_how_to_install_it(self) -> None:
        error = error_with("no-such-claimcheck")
        self.assertEqual(error.code, "not_installed")
        self.assertEqual(
            str(error),
            "The command no-such-claimcheck could not be started (ENOENT): install it with "
            '"npm install --global claimcheck", or set CLAIMCHECK_COMMAND to its path',
        )

    def test_command_without_an_answer_is_told_with_its_exit_code_and_its_standard_error(self) -> None:
        error = error_of("read line; echo no events; echo what went wrong >&2; exit 9")
        self.assertEqual(
            (error.code, error.exit_code, str(error), error.stderr),
            ("no_answer", 9, "what went wrong", "what went wrong"),
        )
        self.assertEqual(str(error_of("exit 0")), "claimcheck ended with exit code 0 and without an answer")

    def test_error_of_the_run_has_its_code_and_the_standard_error_of_the_command(self) -> None:
        error = error_of(
            "read line\n"
            """echo '{"type":"step","step":0}'; echo '{"type":"stderr","data":"Ym9vbQo="}'\n"""
            """echo '{"type":"error","code":"timed_out","title":"Too long.","exitCode":124}'"""
        )
        self.assertEqual((error.code, error.exit_code, error.stderr), ("timed_out", 124, "boom\n"))


if __name__ == "__main__":
    unittest.main()
