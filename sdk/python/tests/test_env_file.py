"""What a .env file says is what test/vectors/env/ says, for every front end."""

import base64
import json
import tempfile
import unittest
from pathlib import Path
from typing import Union

from claimcheck import container, env_file

VECTORS = Path(__file__).parents[3] / "test" / "vectors" / "env"


def outcome_of(path: str) -> "Union[str, dict[str, str]]":
    """The variables of the file, or why it is refused."""
    try:
        chain = container().from_("a").with_secret_variables(env_file(path)).with_exec(["a"])
    except ValueError as error:
        return str(error).replace(f"{path}:", "refused ", 1)
    values = chain.request("sync").get("values", {})
    return {name: base64.b64decode(value).decode() for name, value in values.items()}


class EnvFileTest(unittest.TestCase):
    def test_reads_the_vectors(self) -> None:
        vectors = sorted(VECTORS.iterdir())
        self.assertGreater(len(vectors), 50)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file.env"
            for vector in vectors:
                head, content = vector.read_bytes().split(b"\n\n", 1)
                fields = dict(line.split(": ", 1) for line in head.decode().split("\n"))
                expected = fields["expect"]
                path.write_bytes(content)
                with self.subTest(vector.name):
                    wanted = expected if expected.startswith("refused ") else json.loads(expected)
                    self.assertEqual(outcome_of(str(path)), wanted)

    def test_reads_no_more_than_a_file_of_variables_has(self) -> None:
        with self.assertRaisesRegex(ValueError, "has more than 1048576 bytes"):
            env_file("/dev/zero")


if __name__ == "__main__":
    unittest.main()
