/** libsecret:// against a real gnome-keyring on a session bus of its own. */
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { libsecretProvider } from "../../broker/providers/libsecret.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { createResolver } from "../../broker/resolve/resolver.ts";
import { type Keyring, startKeyring } from "../parts/keyring.ts";
import { reader } from "../support/provider.ts";

let keyring: Keyring;

beforeAll(async () => {
  keyring = await startKeyring();
  await keyring.store("GitHub token", { service: "github", user: "me" }, "of me\n");
  await keyring.store("twice", { service: "gitlab", user: "me" }, "first");
  await keyring.store("twice", { service: "gitlab", user: "you" }, "second");
  await keyring.store("1", { service: "numbers", url: "https://a&b c" }, "labelled 1");
});

afterAll(() => keyring.close());

const read = (...uris: string[]) => reader(libsecretProvider({ address: keyring.address })).read(...uris);

test("gives an item by its id, its label or its attributes, byte for byte", async () => {
  expect(
    await read(
      "libsecret://login/GitHub token",
      "libsecret://default/GitHub token",
      "libsecret://login?service=github&user=me",
      "libsecret://login/twice?user=you",
      "libsecret://login?url=https%3A%2F%2Fa%26b%20c",
      // An id counts before a label.
      "libsecret://login/1",
    ),
  ).toEqual(["of me\n", "of me\n", "of me\n", "second", "labelled 1", "of me\n"]);
});

test("says what is not there, and what is not clear", async () => {
  expect(
    await read(
      "libsecret://login/none",
      "libsecret://nowhere/none",
      "libsecret://login/twice",
      "libsecret://login/twice?user=nobody",
      "libsecret://login?toString=x",
    ),
  ).toEqual([
    { code: "secret_not_found", detail: "libsecret://login/none names no item" },
    { code: "secret_not_found", detail: "libsecret://nowhere/none names no collection of the keyring" },
    {
      code: "provider_failed",
      detail: "libsecret://login/twice names more than one item: add attributes, or use an id",
    },
    { code: "secret_not_found", detail: "libsecret://login/twice names no item" },
    { code: "secret_not_found", detail: "libsecret://login names no item" },
  ]);
});

test("reads ten items with one session", async () => {
  const ten = Array.from({ length: 10 }, (_, nth) => `${nth}`);
  for (const nth of ten) await keyring.store(`many ${nth}`, { many: nth }, nth);
  const resolver = createResolver([libsecretProvider({ address: keyring.address }) as unknown as Provider]);
  const values = await resolver.resolve(
    "acme",
    ten.map((nth) => resolver.parse("acme", `libsecret://login/many ${nth}`)),
  );
  expect(values.map((value) => Buffer.from(value.expose()).toString())).toEqual(ten);
});

test("says that a collection is locked, where nobody unlocks it", async () => {
  const own = await startKeyring();
  onTestFinished(() => own.close());
  await own.store("a", { a: "1" }, "x");
  await own.run("dbus-send", [
    ..."--session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets".split(" "),
    "org.freedesktop.Secret.Service.Lock",
    "array:objpath:/org/freedesktop/secrets/collection/login",
  ]);
  const provider = libsecretProvider({ address: own.address });
  expect(await reader(provider).read("libsecret://login/a")).toEqual([
    {
      code: "provider_denied",
      detail: "libsecret://login/a cannot be read: the collection login is locked; unlock it",
    },
  ]);
});

test.each([
  [
    "no session",
    undefined,
    "provider_failed",
    "there is no session bus: DBUS_SESSION_BUS_ADDRESS and XDG_RUNTIME_DIR are not set",
  ],
  ["no bus", "unix:path=/nowhere/bus", "provider_unreachable", "the session bus (ENOENT)"],
  [
    "no socket",
    "tcp:host=localhost,port=1",
    "provider_failed",
    "DBUS_SESSION_BUS_ADDRESS names no socket that the broker can open (unix:path=…)",
  ],
])("says that there is %s", async (_, address, code, detail) => {
  expect(await reader(libsecretProvider({ address })).read("libsecret://login/a")).toEqual([
    { code, detail },
  ]);
});

test("says that a bus hangs up", async () => {
  const path = join(tmpdir(), `claimcheck-bus-${process.pid}`);
  const server = createServer((socket) => socket.end()).listen(path);
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const provider = libsecretProvider({ address: `unix:path=${path}` });
  expect(await reader(provider).read("libsecret://login/a")).toEqual([
    { code: "provider_unreachable", detail: expect.stringContaining("the session bus") },
  ]);
});
