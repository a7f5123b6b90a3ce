/**
 * GET /metrics, on an address of its own: who may scrape is for the network to say, as with most exporters, and what is
 * there names no tenant and no secret.
 */
import { createServer, type Server } from "node:http";
import type { Metrics } from "../../broker/http/metrics.ts";

/** Not listening yet. */
export function createMetricsServer(metrics: Metrics): Server {
  return createServer({ requestTimeout: 10_000 }, async ({ method, url }, response) => {
    if (url !== "/metrics") response.writeHead(404).end();
    else if (method !== "GET" && method !== "HEAD") response.writeHead(405, { allow: "GET, HEAD" }).end();
    else response.writeHead(200, { "content-type": metrics.contentType }).end(await metrics.read());
  });
}
