/** `claimcheck broker --config`, started as an operator would: files in a folder of its own, a free port. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { freePort } from "../parts/free-port.ts";
import type { TestIssuer } from "../parts/issuer.ts";
import { printed, start } from "./command.ts";
import { sourcesFor } from "./sources.ts";

export function makeFolder(files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(folder, name), content, { mode: 0o600 });
  return folder;
}

/** A whole policy in the place of the one before. */
export function putPolicy(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** One tenant, whose principals are those of one issuer, and rules in YAML. */
export const policyOf = (issuer: string, rules: string) => `version: 1
issuers:
  ci: { issuer: "${issuer}", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: "**" }, roles: [requester, executor], dangerouslyTokenAlone: true }
    rules:
${rules}`;

export const anyVariable = `      - { name: variables, actions: [issue, redeem], secrets: ["env://**"] }\n`;

export async function serve(
  issuer: Pick<TestIssuer, "url">,
  fields = "",
  env: Record<string, string> = {},
  {
    audit = "audit.jsonl",
    policy = policyOf(issuer.url, anyVariable),
  }: { readonly audit?: string; readonly policy?: string } = {},
  change: (folder: string) => void = () => {},
) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const folder = makeFolder({
    "root-key": Uint8Array.from({ length: 32 }, (_, index) => index),
    "policy.yaml": policy,
    "broker.yaml": `url: ${url}
listen: 127.0.0.1:${port}
rootKey: { file: root-key }
policy: policy.yaml
audit: ${audit}
${/^sources:/m.test(fields) ? "" : sourcesFor(policy)}${fields}`,
  });
  change(folder);
  const broker = start(["broker", "--config", join(folder, "broker.yaml")], {
    env: { API_TOKEN: "guessme", ...env },
  });
  await printed(broker, "serving");
  const keys = /keys ([\w,-]+)/.exec(broker.output.stderr)?.[1] ?? "";
  return { ...broker, url, port, folder, policy: join(folder, "policy.yaml"), keys };
}
