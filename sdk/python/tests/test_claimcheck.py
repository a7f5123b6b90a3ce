import asyncio
import json
import os
import unittest

from claimcheck import container, secret, set_secret


class SecretTest(unittest.TestCase):
    def test_is_its_name(self) -> None:
        for made, name in [(secret("env://A", cache_key="k"), "env://A"), (set_secret("token", "hunter2"), "token")]:
            self.assertEqual(str(made), name)
            self.assertEqual(repr(made), f"Secret({name})")
            self.assertEqual(f"{made}", name)

    def test_has_no_plaintext(self) -> None:
        with self.assertRaisesRegex(TypeError, "only the container sees it"):
            set_secret("token", "hunter2").plaintext()

    def test_keeps_bytes_that_are_not_utf8(self) -> None:
        value = set_secret("token", os.fsdecode(b"a\xff"))
        chain = container().from_("a").with_secret_variable("A", value).with_exec(["a"])
        self.assertEqual(chain.request("sync")["values"], {"token": "Yf8="})

    def test_is_not_in_what_a_chain_prints(self) -> None:
        chain = container().from_("a").with_secret_variable("A", set_secret("token", "hunter2")).with_exec(["a"])
        self.assertNotIn("hunter2", repr(chain))
        self.assertNotIn("hunter2", json.dumps(chain.request("sync")["plan"]))


class ContainerTest(unittest.TestCase):
    def test_leaves_chains_as_they_were(self) -> None:
        base = container().from_("a").with_exec(["one"])
        base.with_env_variable("A", "1").with_exec(["two"])
        self.assertEqual(len(base.request("sync")["plan"]["steps"]), 1)

    def test_needs_an_image_and_a_command(self) -> None:
        with self.assertRaisesRegex(ValueError, "no image"):
            asyncio.run(container().with_exec(["a"]).sync())
        with self.assertRaisesRegex(ValueError, "no command"):
            asyncio.run(container().from_("a").stdout())

    def test_has_one_value_for_a_name(self) -> None:
        first, second = set_secret("token", "1111"), set_secret("token", "2222")
        chain = container().from_("a").with_secret_variable("A", first).with_secret_variable("B", second)
        with self.assertRaisesRegex(ValueError, "two secrets were set with the name token"):
            chain.with_exec(["a"]).request("sync")


if __name__ == "__main__":
    unittest.main()
