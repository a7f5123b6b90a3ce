/** file:// over HTTP: the policy decides on the file that is read, whatever leads to it, and the record names that file. */
import { linkSync, mkdirSync, realpathSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fileProvider } from "../../broker/providers/file.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { allow, deny, startBroker } from "../support/broker.ts";
import { makeFolder } from "../support/served.ts";

async function setUp() {
  const base = realpathSync(makeFolder({}));
  const [a, b] = [join(base, "a"), join(base, "b")];
  for (const folder of [a, b, join(a, "private"), join(a, "public")]) mkdirSync(folder);
  writeFileSync(join(b, "key"), "another tenant's");
  writeFileSync(join(a, "private", "key"), "denied");
  writeFileSync(join(a, "public", "key"), "own");
  const roots = [{ folder: a }, { folder: b }];
  const files = fileProvider({ roots, home: base, workingDirectory: base }) as unknown as Provider;
  const broker = await startBroker({
    providers: [files],
    rules: [
      allow([`file://${a}/**`]),
      deny([`file://${a}/private/**`], { name: "private" }),
      // What only a link's name fits.
      allow([`file://${b}/linked`], { principals: ["linker"] }),
    ],
  });
  const ask = async (path: string, principal = "ci") => {
    const authorization = `Bearer ${await broker.token({ principal })}`;
    const answer = await broker.send(
      "POST",
      "/v1/handles",
      { secrets: [{ uri: `file://${path}` }] },
      { authorization },
    );
    const body = (await answer.json()) as { code?: string; failures?: { code: string }[] };
    const [{ outcome, uri, rule } = {}] = broker.audit.latest as Partial<(typeof broker.audit.latest)[0]>[];
    return { code: body.failures?.[0]?.code ?? "issued", outcome, uri, rule };
  };
  return { a, b, ask };
}

test("a link out of a root gives nothing of the other, however it leads there", async () => {
  const { a, b, ask } = await setUp();
  symlinkSync("../b/key", join(a, "mine"));
  symlinkSync("../b", join(a, "folder"));
  symlinkSync(join(b, "key"), join(a, "public", "absolute"));
  linkSync(join(b, "key"), join(a, "hard"));
  for (const path of ["mine", "folder/key", "public/absolute", "hard"]) {
    expect(await ask(join(a, path))).toMatchObject({ code: "provider_denied", outcome: "failed" });
  }
});

test("a rule that denies is not evaded by another name", async () => {
  const { a, ask } = await setUp();
  symlinkSync("private/key", join(a, "file"));
  symlinkSync("private", join(a, "folder"));
  symlinkSync("folder/key", join(a, "twice"));
  for (const path of ["file", "folder/key", "twice", "private/key"]) {
    expect(await ask(join(a, path))).toMatchObject({ code: "forbidden", outcome: "denied", rule: "private" });
  }
  linkSync(join(a, "private", "key"), join(a, "public", "hard"));
  expect(await ask(join(a, "public", "hard"))).toMatchObject({ code: "provider_denied" });
});

test("the name of a link allows nothing", async () => {
  const { b, ask } = await setUp();
  symlinkSync("key", join(b, "linked"));
  expect(await ask(join(b, "linked"), "linker")).toMatchObject({ code: "forbidden" });
});

test("a Secret that Kubernetes mounts is read through its links, also when it is exchanged, and is recorded as what it was", async () => {
  const { a, ask } = await setUp();
  for (const version of ["..1", "..2"]) {
    mkdirSync(join(a, version));
    writeFileSync(join(a, version, "password"), version);
  }
  symlinkSync("..data/password", join(a, "password"));
  for (const version of ["..1", "..2"]) {
    symlinkSync(version, join(a, "..data_tmp"));
    renameSync(join(a, "..data_tmp"), join(a, "..data"));
    expect(await ask(join(a, "password"))).toMatchObject({
      code: "issued",
      outcome: "issued",
      uri: `file://${a}/${version}/password`,
    });
  }
});
