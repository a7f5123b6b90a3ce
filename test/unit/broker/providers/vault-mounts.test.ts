/** What is kept of a Vault server's mounts. */
import { expect, test } from "vitest";
import { createMounts } from "../../../../broker/providers/vault-mounts.ts";

const { signal } = new AbortController();

/** A server on which every first segment is a mount. */
function server() {
  const asked: string[] = [];
  const mounts = createMounts(async (path) => {
    asked.push(path);
    const [first] = path.slice("sys/internal/ui/mounts/".length).split("/");
    return { data: { path: `${first}/`, type: "kv", options: { version: "2" } } };
  }, undefined);
  return { asked, find: (path: string) => mounts.find(path, signal, "acme") };
}

test("a mount that is known needs no asking", async () => {
  const { asked, find } = server();
  expect(await find("app/one")).toEqual({ path: "app/", version: 2, key: "one" });
  expect(await find("app/two")).toMatchObject({ key: "two" });
  expect(asked).toHaveLength(1);
});

test("a thousand are kept, whoever asks for however many", async () => {
  const { asked, find } = server();
  for (let nth = 0; nth <= 1_000; nth++) await find(`mount-${nth}/x`);
  expect(asked).toHaveLength(1_001);
  await find("mount-1000/y");
  expect(asked).toHaveLength(1_001);
  await find("mount-0/y");
  expect(asked).toHaveLength(1_002);
});
