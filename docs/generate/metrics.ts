/** docs/reference/metrics.md, from the exposition of a broker in which everything happened once. */
import { createMetrics } from "../../broker/http/metrics.ts";
import { envProvider } from "../../broker/providers/env.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { cell, code, page, table } from "./markdown.ts";

export async function metrics(): Promise<string> {
  const made = createMetrics();
  const source = { scheme: "env", open: () => envProvider({}) as never };
  const failed = new ClaimcheckError("provider_failed");
  made.request({ method: "POST", route: "/v1/handles", seconds: 0 } as Parameters<typeof made.request>[0]);
  made.source.read(source, failed);
  made.source.hit(source, failed);
  made.source.circuit(source, 0);
  made.watch({ size: () => 0 } as Parameters<typeof made.watch>[0]);
  const text = await made.read();
  const names = [...text.matchAll(/^# HELP (claimcheck_\w+) (.*)\n# TYPE \S+ (\w+)/gm)];
  const rows = names.map(([, name = "", help = "", type = ""]) => [
    code(name),
    type,
    labelsOf(text, name).map(code).join(", "),
    cell(help),
  ]);
  return page(
    "# Metrics",
    "With `metrics: HOST:PORT` in `broker.yaml`, Prometheus reads `/metrics` there. No label names a tenant, a principal or a secret.",
    table(["name", "type", "labels", "counts"], rows),
    "Beside these are the metrics of Node.js (`nodejs_…`, `process_…`) that prom-client collects by default.",
  );
}

function labelsOf(text: string, name: string): string[] {
  const [, labels = ""] = new RegExp(`^${name}(?:_bucket)?\\{(.*?)\\}`, "m").exec(text) ?? [];
  return [...labels.matchAll(/(\w+)="/g)].map(([, label = ""]) => label).filter((label) => label !== "le");
}
