/** The broker on HTTPS, with a certificate that is renewed while it runs, and where it refuses to go without. */
import { once } from "node:events";
import { renameSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TLSSocket } from "node:tls";
import { beforeAll, describe, expect, test } from "vitest";
import { makeCertificate } from "../parts/certificate.ts";
import { freePort } from "../parts/free-port.ts";
import { startIssuer } from "../parts/issuer.ts";
import { claimcheck, printed, start } from "../support/command.ts";
import { anyVariable, makeFolder, policyOf } from "../support/served.ts";
import { sourcesOf } from "../support/sources.ts";

type Pair = Awaited<ReturnType<typeof makeCertificate>>;

let first: Pair;
let second: Pair;
beforeAll(async () => {
  [first, second] = await Promise.all([makeCertificate("127.0.0.1"), makeCertificate("127.0.0.1")]);
});

const rootKey = Uint8Array.from({ length: 32 }, (_, index) => index);

async function serveTls(issuer = "http://127.0.0.1:1") {
  const port = await freePort();
  const url = `https://127.0.0.1:${port}`;
  const folder = makeFolder({
    "root-key": rootKey,
    "cert.pem": first.cert,
    "key.pem": first.key,
    "policy.yaml": policyOf(issuer, anyVariable),
    "broker.yaml": `url: ${url}
listen: 127.0.0.1:${port}
tls: { certificate: cert.pem, key: key.pem }
rootKey: { file: root-key }
policy: policy.yaml
audit: audit.jsonl
${sourcesOf(["acme"], { variables: { provider: "env", variables: ["API_TOKEN"] } })}`,
  });
  const broker = start(["broker", "--config", join(folder, "broker.yaml")], {
    env: { API_TOKEN: "guessme" },
  });
  await printed(broker, "serving");
  const replace = (name: string, content: Buffer) => {
    writeFileSync(join(folder, "draft"), content, { mode: 0o600 });
    renameSync(join(folder, "draft"), join(folder, name));
  };
  return { ...broker, url, folder, replace };
}

/** A new connection each time. */
async function get(url: string, pair: Pair): Promise<{ status?: number; body: string; certificate: string }> {
  const sent = request(url, { ca: pair.cert, agent: false });
  sent.end();
  const [answer] = await once(sent, "response");
  const certificate = (answer.socket as TLSSocket).getPeerX509Certificate()?.toString() ?? "";
  return { status: answer.statusCode, body: await text(answer), certificate };
}

test("a client that trusts the certificate has its secret, another one nothing", async () => {
  const ci = await startIssuer("ES256");
  const { url, folder, output } = await serveTls(ci.url);
  const env = {
    CLAIMCHECK_BROKER: url,
    CLAIMCHECK_BROKER_KEYS: /keys (\S+)/.exec(output.stderr)?.[1]?.replace(/;$/, "") ?? "",
    CLAIMCHECK_TOKEN: await ci.sign({ sub: "job", aud: url }),
  };
  const scrub = async (more: Record<string, string>) => {
    const started = start(["scrub", "--uri", "env://API_TOKEN"], { env: { ...env, ...more }, input: true });
    // One that gives up does not read.
    started.child.stdin?.on("error", () => {}).end("it is guessme\n");
    return started.finished;
  };
  expect(await scrub({ NODE_EXTRA_CA_CERTS: join(folder, "cert.pem") })).toEqual({
    code: 0,
    stdout: "it is ***\n",
    stderr: "",
  });
  const refused = await scrub({});
  expect(refused).toMatchObject({ code: 125, stdout: "" });
  expect(refused.stderr).toMatch(/^claimcheck: .* \[broker_unreachable\]\n$/);
});

test("a certificate that is renewed is shown from then on, without a restart", async () => {
  const broker = await serveTls();
  expect((await get(`${broker.url}/healthz`, first)).certificate).toBe(first.cert.toString());
  broker.replace("cert.pem", second.cert);
  broker.replace("key.pem", second.key);
  await printed(broker, '"certificate":"taken"');
  expect((await get(`${broker.url}/healthz`, second)).certificate).toBe(second.cert.toString());
});

test("a certificate without its key changes nothing but what /readyz says, until the key is there", async () => {
  const broker = await serveTls();
  broker.replace("cert.pem", second.cert);
  await printed(broker, '"certificate":"refused"');
  const degraded = await get(`${broker.url}/readyz`, first);
  expect(degraded).toMatchObject({ status: 200, certificate: first.cert.toString() });
  expect(JSON.parse(degraded.body)).toMatchObject({ status: "degraded", complaints: [{ part: "tls" }] });
  broker.replace("key.pem", second.key);
  await printed(broker, '"certificate":"taken"');
  expect(JSON.parse((await get(`${broker.url}/readyz`, second)).body)).toMatchObject({ status: "ready" });
});

describe("without TLS", () => {
  const check = (listen: string, ...more: string[]) => {
    const folder = makeFolder({
      "root-key": rootKey,
      "policy.yaml": policyOf("http://127.0.0.1:1", anyVariable),
      "broker.yaml": `url: https://broker.example
listen: "${listen}"
rootKey: { file: root-key }
policy: policy.yaml
audit: audit.jsonl
`,
    });
    return claimcheck(["broker", "check", join(folder, "broker.yaml"), ...more]);
  };

  test.each(["127.0.0.1:7878", "localhost:7878", "[::1]:7878"])("%s is served", async (listen) => {
    expect((await check(listen)).code).toBe(0);
  });

  test.each(["0.0.0.0:7878", "[::]:7878", "10.0.0.1:7878"])(
    "%s is refused, unless it is asked for",
    async (listen) => {
      const refused = await check(listen);
      expect(refused).toMatchObject({ code: 125, stdout: "" });
      expect(refused.stderr).toMatch(/^claimcheck: .*--insecure-http.*\[usage\]\n$/);
      expect((await check(listen, "--insecure-http")).code).toBe(0);
    },
  );

  test("a broker for trying out stays on this host too", async () => {
    const { code, stderr } = await claimcheck(["broker", "--dev", "--listen", "0.0.0.0:7878"]);
    expect(code).toBe(125);
    expect(stderr).toContain("--insecure-http");
  });
});

test("a certificate that cannot be used, or a URL that does not fit it, is a fault of the configuration", async () => {
  const folder = makeFolder({
    "root-key": rootKey,
    "cert.pem": first.cert,
    "key.pem": second.key,
    "policy.yaml": policyOf("http://127.0.0.1:1", anyVariable),
    "broker.yaml": `url: http://127.0.0.1:7878
tls: { certificate: cert.pem, key: key.pem }
rootKey: { file: root-key }
policy: policy.yaml
audit: audit.jsonl
`,
  });
  const { code, stderr } = await claimcheck(["broker", "--config", join(folder, "broker.yaml")]);
  expect(code).toBe(125);
  expect(stderr.replaceAll(`${folder}/`, "")).toBe(
    "broker.yaml:1: url: https, because of tls\n" +
      "broker.yaml:2: tls: the certificate or its key cannot be used (ERR_OSSL_X509_KEY_VALUES_MISMATCH)\n" +
      "claimcheck: The command line is invalid: broker.yaml cannot be used [usage]\n",
  );
});
