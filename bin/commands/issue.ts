/** claimcheck issue: secret URIs become handles, which are printed. */

import { Command } from "commander";
import { readDuration } from "../../shared/duration.ts";
import { Failure } from "../../shared/failure.ts";
import { printableJson } from "../../shared/printable.ts";
import { takeCacheKey } from "../../shared/uri.ts";
import type { HandleTerms, IssueItem } from "../../shared/wire.ts";
import { connectRequester, type RequesterOptions, withBroker } from "../connect/requester.ts";

interface IssueOptions extends RequesterOptions, Pick<HandleTerms, "ttl" | "uses" | "audience" | "jkt"> {
  readonly run?: string;
  readonly plan?: string;
}

export function issueCommand(): Command {
  const command = new Command("issue")
    .description("Ask a broker for handles.")
    .usage("[options] URI\n       claimcheck issue [options] NAME=URI...")
    .argument(
      "<secrets...>",
      "one URI prints the handle alone; several need names, and print NAME=HANDLE lines",
    )
    .option("--ttl <TIME>", "the lifetime of the handles, in seconds or such as 10m or 1h", parseTime)
    .option("--uses <N>", "how often each handle may be redeemed", parseCount)
    .option("--audience <PRINCIPAL>", "the principal that may redeem the handles")
    .option("--jkt <THUMBPRINT>", "RFC 7638 thumbprint of the one key that may redeem them")
    .option("--plan <FILE>", "bind the handles to the plan in this file")
    .option("--run <LABEL>", "a label for the handles; `revoke --run` names it")
    .addHelpText("after", "\nExample:\n  claimcheck issue --uses 2 TOKEN=env://API_TOKEN > handles");
  return withBroker(command).action(issue);
}

async function issue(
  args: string[],
  { ttl, uses, audience, jkt, run, plan, format, ...where }: IssueOptions,
): Promise<void> {
  const hash = plan === undefined ? undefined : await hashOf(plan);
  const terms = {
    ...(ttl !== undefined && { ttl }),
    ...(uses !== undefined && { uses }),
    ...(audience !== undefined && { audience }),
    ...(jkt !== undefined && { jkt }),
    ...(hash !== undefined && { plan: hash }),
  };
  const secrets = args.map((arg) => ({ ...parseSecret(arg), ...terms }));
  const names = secrets.map(({ name }) => name);
  if (secrets.length > 1 && (names.includes(undefined) || new Set(names).size < names.length)) {
    throw new Failure("usage", { detail: "several secrets need names of their own: NAME=URI" });
  }
  const broker = await connectRequester(where, process.env);
  const handles = await broker.issue({ secrets, ...(run !== undefined && { run }) });
  if (handles.length !== secrets.length) {
    throw new Failure("broker_untrusted", { detail: "handles are missing" });
  }
  const named = handles.map((handle, index) => ({
    ...(names[index] !== undefined && { name: names[index] }),
    ...handle,
  }));
  if (format === "json") process.stdout.write(`${printableJson(named)}\n`);
  else if (handles.length === 1) process.stdout.write(`${handles[0]?.handle}\n`);
  else process.stdout.write(named.map(({ name, handle }) => `${name}=${handle}\n`).join(""));
}

async function hashOf(path: string): Promise<string> {
  const { loadPlanFile } = await import("../run/plan-file.ts");
  return (await loadPlanFile(path)).hash;
}

/** What stands before the first `=` is a name unless it is the beginning of a URI. */
function parseSecret(text: string): IssueItem {
  const [, name, uri = text] = /^([A-Za-z_][\w.-]*)=(.*)$/s.exec(text) ?? [];
  return { ...takeCacheKey(uri), ...(name !== undefined && { name }) };
}

function parseTime(text: string): number {
  const seconds = readDuration(text) ?? 0;
  if (seconds === 0 || !Number.isInteger(seconds))
    throw new Failure("usage", { detail: "--ttl takes a time such as 600, 10m or 1h" });
  return seconds;
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new Failure("usage", { detail: "--uses takes a number from 1 on" });
  return Number(text);
}
