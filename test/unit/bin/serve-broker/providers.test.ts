/** What a broker that others reach gives of its own host: what is listed, and nothing else. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { allowedProviders, userProviders } from "../../../../bin/serve-broker/providers.ts";
import { createResolver } from "../../../../broker/resolve/resolver.ts";
import { takeCacheKey } from "../../../../shared/uri.ts";
import { resolveEach } from "../../../support/provider.ts";

const folder = mkdtempSync(join(tmpdir(), "claimcheck-host-"));
writeFileSync(join(folder, "token"), "from-file");
afterAll(() => rmSync(folder, { recursive: true }));

const environment = { PATH: process.env.PATH, API_TOKEN: "from-env", VAULT_TOKEN: "sesame" };
const uris = ["env://API_TOKEN", `file://${folder}/token`, "cmd://printf x$API_TOKEN$VAULT_TOKEN"];
const none = { variables: [], roots: [], commands: [] };

test("nothing is on by itself", async () => {
  const resolver = createResolver(allowedProviders(environment, none));
  expect(await resolveEach(resolver, [...uris, "op://a/b/c", "vault://a/b#c"])).toMatchObject([
    { code: "secret_not_found" },
    { code: "provider_denied" },
    { code: "provider_denied" },
    { code: "provider_failed", detail: "OP_SERVICE_ACCOUNT_TOKEN is not set" },
    { code: "provider_failed", detail: "VAULT_ADDR is not set" },
  ]);
});

test("what is listed is there, and a command inherits no secret", async () => {
  const allowed = {
    variables: ["API_TOKEN"],
    roots: [{ folder }],
    commands: ["printf x$API_TOKEN$VAULT_TOKEN"],
  };
  const resolver = createResolver(allowedProviders(environment, allowed));
  expect(await resolveEach(resolver, [...uris, "env://VAULT_TOKEN", "file:///etc/passwd"])).toMatchObject([
    "from-env",
    "from-file",
    "x",
    { code: "secret_not_found" },
    { code: "provider_denied" },
  ]);
});

test("front ends know which URIs have no parameters", () => {
  for (const { scheme, parameters } of userProviders(environment)) {
    const { cacheKey } = takeCacheKey(`${scheme}://x?cacheKey=k`);
    expect({ [scheme]: cacheKey }).toEqual({ [scheme]: parameters && "k" });
  }
});

test("a user's own broker reads what the user may read", async () => {
  const resolver = createResolver(userProviders(environment));
  expect(await resolveEach(resolver, uris)).toEqual(["from-env", "from-file", "xfrom-envsesame"]);
});
