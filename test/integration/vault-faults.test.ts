/** vault:// while the server, or the way to it, is broken. */
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { Provider } from "../../broker/providers/provider.ts";
import { vaultProvider } from "../../broker/providers/vault.ts";
import { createResolver } from "../../broker/resolve/resolver.ts";
import {
  answering,
  type Bao,
  type Fault,
  type FaultProxy,
  startBao,
  startProxy,
  whereas,
} from "../parts/openbao.ts";
import { reader } from "../support/provider.ts";

let bao: Bao;
let proxy: FaultProxy;
let mount: string;

beforeAll(async () => {
  bao = await startBao();
  proxy = await startProxy(bao.address);
  mount = await bao.mount("faults", 2);
  await bao.call("POST", `${mount}/data/app`, { data: { a: "1" } });
});

afterAll(async () => {
  await proxy.close();
  await bao.close();
});

const provider = (address = proxy.address) => {
  const logIn = { method: "token", token: async () => bao.token } as const;
  const made = vaultProvider({ server: { address, logIn } });
  onTestFinished(() => made.close?.());
  return made;
};

const uri = () => `vault://${mount}/app#a`;
const isData = ({ path }: { path: string }) => path.includes("/data/");
const reads = () => proxy.requests.filter(isData).length;

/** A fault for the first requests only. */
function times(count: number, fault: Fault): Fault {
  let left = count;
  return (logged, response) => left-- > 0 && fault(logged, response);
}

beforeEach(() => {
  proxy.mend();
  proxy.requests.length = 0;
});

describe("what the server says to be a matter of time is asked again", () => {
  test.each([
    ["429 with Retry-After in seconds", answering(429, { "retry-after": "1" })],
    ["429 with Retry-After as a date", answering(429, { "retry-after": new Date(0).toUTCString() })],
    ["429 without", answering(429)],
    ["503, sealed", answering(503, {}, { errors: ["Vault is sealed"] })],
    ["502 of a proxy", answering(502, {}, "<html>")],
    ["500 with Retry-After", answering(500, { "retry-after": "0" })],
    ["412, not replicated yet", answering(412)],
  ])("%s", async (_, fault) => {
    proxy.breakWith(whereas(isData, times(1, fault)));
    expect(await reader(provider()).read(uri())).toEqual(["1"]);
    expect(reads()).toBe(2);
  });

  test("three times in all, then it is told", async () => {
    proxy.breakWith(whereas(isData, answering(503)));
    expect(await reader(provider()).read(uri())).toEqual([
      { code: "provider_failed", detail: "the Vault server answers with status 503" },
    ]);
    expect(reads()).toBe(3);
  });

  test("but not at all when it wants to be left alone for longer than there is time", async () => {
    proxy.breakWith(whereas(isData, answering(429, { "retry-after": "3600" })));
    const { read } = reader(provider());
    const busy = { code: "provider_busy", detail: "the Vault server answers with status 429" };
    expect(await read(uri())).toEqual([busy]);
    expect(await read(`vault://${mount}/other#a`)).toEqual([busy]);
    expect(reads()).toBe(1);
  });
});

describe("what is told at once", () => {
  test.each<[string, Fault, { code: string; detail: string }]>([
    ["500", answering(500), { code: "provider_failed", detail: "the Vault server answers with status 500" }],
    [
      "a redirect to another host",
      answering(307, { location: "http://elsewhere.example/" }),
      { code: "provider_failed", detail: "the Vault server answers with status 307" },
    ],
    [
      "a cut connection",
      (_, response) => {
        response.destroy();
        return true;
      },
      { code: "provider_unreachable", detail: "the Vault server (UND_ERR_SOCKET)" },
    ],
    [
      "an answer that is cut off",
      (_, response) => {
        response.writeHead(200, { "content-length": "100" });
        response.write("{", () => response.destroy());
        return true;
      },
      { code: "provider_unreachable", detail: "the Vault server (UND_ERR_SOCKET)" },
    ],
    [
      "an answer that is not JSON",
      answering(200, {}, "<html>sign in</html>"),
      { code: "provider_failed", detail: "the Vault server's answer is not JSON" },
    ],
    [
      "an answer without data",
      answering(200, {}, { data: null }),
      { code: "provider_failed", detail: "the Vault server's answer is not a KV secret" },
    ],
  ])("%s", async (_, fault, failure) => {
    proxy.breakWith(whereas(isData, fault));
    expect(await reader(provider()).read(uri())).toEqual([failure]);
    expect(reads()).toBe(1);
  });

  test("a server that is not there", async () => {
    expect(await reader(provider("http://127.0.0.1:9")).read(uri())).toEqual([
      { code: "provider_unreachable", detail: "the Vault server (ECONNREFUSED)" },
    ]);
  });

  test("what is broken about the question of the mount, or of the token", async () => {
    proxy.breakWith(whereas(({ path }) => path.includes("/mounts/"), answering(500)));
    expect(await reader(provider()).read(uri())).toMatchObject([{ code: "provider_failed" }]);
    proxy.breakWith((logged, response) =>
      answering(logged.path.endsWith("lookup-self") ? 500 : 403)(logged, response),
    );
    expect(await reader(provider()).read(uri())).toMatchObject([{ code: "provider_failed" }]);
  });
});

test("a server that never answers is given up at the time limit", async () => {
  const hanging = new Promise<void>((resolve) => {
    proxy.breakWith(
      whereas(isData, () => {
        resolve();
        return true;
      }),
    );
  });
  const made = provider();
  const limit = new AbortController();
  const reading = made.read([made.parse(uri().slice("vault://".length), new Map())], limit.signal, "acme");
  await hanging;
  limit.abort();
  expect(await reading).toMatchObject([{ code: "provider_timeout" }]);
});

test.each([
  ["hang", () => true, false],
  ["are answered with 429 and a Retry-After of a day", answering(429, { "retry-after": "86400" }), true],
  ["fail", answering(500), true],
])("a tenant whose reads %s takes the server from no other", async (_, fault: Fault, ends: boolean) => {
  await bao.call("POST", `${mount}/data/theirs`, { data: { a: "theirs" } });
  const isMine = ({ path }: { path: string }) => path.includes("/mine");
  proxy.breakWith(whereas(isMine, fault));
  const resolver = createResolver([provider() as unknown as Provider]);
  const ask = (name: string) =>
    resolver.resolve("acme", [resolver.parse("acme", `vault://${mount}/mine-${name}#a`)]).catch(() => {});
  if (ends) for (let nth = 0; nth < 6; nth++) await ask(`${nth}`);
  else for (let nth = 0; nth < 200; nth++) void ask(`${nth}`);
  await expect.poll(() => proxy.requests.filter(isMine).length).toBeGreaterThan(0);
  for (let nth = 0; nth < 10; nth++) {
    const [value] = await resolver.resolve("rival", [resolver.parse("rival", `vault://${mount}/theirs#a`)]);
    expect(Buffer.from(value!.expose()).toString()).toBe("theirs");
  }
});

test("an older server, which does not know the question of the mount, is taken to have version 1 of KV", async () => {
  const old = await bao.mount("old", 1);
  await bao.call("POST", `${old}/app`, { a: "old" });
  proxy.breakWith(whereas(({ path }) => path.includes("/mounts/"), answering(404)));
  expect(await reader(provider()).read(`vault://${old}/app#a`)).toEqual(["old"]);
});
