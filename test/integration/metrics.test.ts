/** What Prometheus reads: it counts what happened, and whatever clients send it has no more lines and no secret. */
import { expect, test } from "vitest";
import { createMetrics } from "../../broker/http/metrics.ts";
import { SourceFailure } from "../../broker/providers/provider.ts";
import { createSharedRead } from "../../broker/resolve/shared-read.ts";
import { unnamed } from "../../broker/resolve/source.ts";
import { Secret } from "../../shared/secret.ts";
import { freePort } from "../parts/free-port.ts";
import { startIssuer } from "../parts/issuer.ts";
import { serve } from "../support/served.ts";

const value = "s3cr3t-metrics-value";

async function start() {
  const ci = await startIssuer("ES256");
  const port = await freePort();
  const broker = await serve(ci, `metrics: 127.0.0.1:${port}\ncacheTtl: 3600\n`, { API_TOKEN: value });
  const scrape = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const ask = async (uri: string, sub = "job") =>
    fetch(`${broker.url}/v1/handles`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${await ci.sign({ sub, aud: broker.url })}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({ secrets: [{ uri }] }),
    });
  return { ...broker, metricsUrl: `http://127.0.0.1:${port}`, scrape, ask };
}

test("requests, reads, hits, handles and the log are counted under their names", async () => {
  const { ask, scrape, url, metricsUrl } = await start();
  for (const uri of ["env://API_TOKEN", "env://API_TOKEN", "env://MISSING", "env://MISSING", "cmd://x"])
    await ask(uri);
  await fetch(`${url}/v1/handles`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  const text = await scrape();
  for (const line of [
    'claimcheck_requests_total{route="POST /v1/handles",code="ok"} 2',
    'claimcheck_requests_total{route="POST /v1/handles",code="secrets_unavailable"} 2',
    'claimcheck_requests_total{route="POST /v1/handles",code="token_missing"} 1',
    'claimcheck_request_duration_seconds_count{route="POST /v1/handles"} 6',
    'claimcheck_provider_reads_total{scheme="env",source="variables",code="ok"} 1',
    'claimcheck_provider_reads_total{scheme="env",source="variables",code="secret_not_found"} 1',
    'claimcheck_cache_hits_total{scheme="env",source="variables",kind="value"} 1',
    'claimcheck_cache_hits_total{scheme="env",source="variables",kind="failure"} 1',
    'claimcheck_circuit_open{scheme="env",source="variables"} 0',
    "claimcheck_open_handles 2",
    "claimcheck_audit_lag_seconds 0",
    "claimcheck_audit_record_duration_seconds_count 5",
  ])
    expect(text).toContain(`${line}\n`);
  expect(text).toContain("process_cpu_seconds_total");
  expect((await fetch(`${url}/metrics`)).status).toBe(404);
  expect((await fetch(metricsUrl)).status).toBe(404);
  expect((await fetch(`${metricsUrl}/metrics`, { method: "POST" })).status).toBe(405);
});

test("neither paths, methods, principals nor URIs become labels, and no secret is there", async () => {
  const { ask, scrape, url } = await start();
  for (let nth = 0; nth < 2; nth++) await ask("env://API_TOKEN");
  await ask(`nosuch://${value}`);
  await fetch(`${url}/nowhere`);
  await fetch(`${url}/v1/handles/x`, { method: "PUT" });
  const series = (text: string) =>
    text
      .split("\n")
      .filter((line) => line.startsWith("claimcheck_"))
      .map((line) => line.replace(/ \S+$/, ""));
  const before = series(await scrape());
  for (let nth = 0; nth < 50; nth++) {
    await ask(`nosuch://${value}-${nth}`, `principal-${nth}`);
    await ask("env://API_TOKEN", `principal-${nth}`);
    await fetch(`${url}/${value}-${nth}?${value}`);
    await fetch(`${url}/v1/handles/${value}"} 1-${nth}`, { method: nth % 2 === 0 ? "PATCH" : "PUT" });
  }
  const text = await scrape();
  expect(series(text)).toEqual(before);
  for (const word of [value, "principal-", "acme", "nowhere", "nosuch", "API_TOKEN"])
    expect(text).not.toContain(word);
});

test("a circuit that opens is seen, and that it closes too", async () => {
  const metrics = createMetrics();
  const reference = { scheme: "red", canonical: "red://x", shown: "red://…" };
  let down = true;
  const source = createSharedRead(
    unnamed({
      scheme: "red",
      parameters: [],
      parse: () => reference,
      read: async () => [
        down ? new SourceFailure("provider_busy", { after: 1 }) : new Secret(Buffer.from("x")),
      ],
    }),
    0,
    metrics.source,
  );
  const open = async () =>
    /claimcheck_circuit_open\{scheme="red",source=""\} (\d)/.exec(await metrics.read())?.[1];
  expect(await open()).toBe("0");
  await source.read("acme", reference);
  expect(await open()).toBe("1");
  down = false;
  while ((await open()) === "1") await source.read("acme", reference);
  expect(await open()).toBe("0");
});
