/** claimcheck inspect: what state handles are in. Looking spends nothing. */
import { Command } from "commander";
import { printable, printableJson } from "../../shared/printable.ts";
import type { HandleStatus } from "../../shared/wire.ts";
import { connectRequester, type RequesterOptions, readIds, withBroker } from "../connect/requester.ts";

export function inspectCommand(): Command {
  const command = new Command("inspect")
    .description("Print the state of handles.")
    .argument("<handles...>", "the ids of handles, or @FILE with handles in it");
  return withBroker(command).action(inspect);
}

async function inspect(args: string[], options: RequesterOptions): Promise<void> {
  const ids = await readIds(args);
  const broker = await connectRequester(options, process.env);
  const found = await Promise.all(ids.map((jti) => broker.inspect(jti)));
  process.stdout.write(options.format === "json" ? `${printableJson(found)}\n` : found.map(show).join("\n"));
}

function show({ jti, subject, run, uses, left, expires }: HandleStatus): string {
  const lines = [
    `id       ${printable(jti)}`,
    `asked    by ${printable(subject)}`,
    ...(run === undefined ? [] : [`run      ${printable(run)}`]),
    `left     ${left} of ${uses}`,
    `expires  ${new Date(expires * 1000).toISOString()}`,
  ];
  return `${lines.join("\n")}\n`;
}
