/** claimcheck audit show and tail: what is in an audit log, for people or, with --format json, line by line as it is. */
import { setTimeout } from "node:timers/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import type { AuditFilter } from "../../broker/audit/query.ts";
import type { AuditEntry } from "../../broker/audit/record.ts";
import { parseDuration } from "../../executor/plan/quantities.ts";
import { openSource, unreadable } from "./audit-input.ts";

/** How often a log that is followed is looked at, in milliseconds. */
const pause = 500;

interface ShowOptions {
  readonly postgres?: true;
  readonly tenant?: string;
  readonly uri?: string;
  readonly principal?: string;
  readonly since?: string;
  readonly until?: string;
  readonly format: "text" | "json";
}

interface TailOptions extends ShowOptions {
  readonly lines: number;
  readonly follow?: true;
}

export function showCommand(): Command {
  return withFilter(new Command("show"))
    .description("Print the decisions in a log that match the flags, the oldest first.")
    .option(
      "--since <TIME>",
      "only decisions since this time: 2026-11-23T12:00:00Z, 2026-11-23, or 90m for 90 minutes ago",
      parseTime,
    )
    .option("--until <TIME>", "only decisions before this time", parseTime)
    .action(show);
}

export function tailCommand(): Command {
  return withFilter(new Command("tail"))
    .description("Print the last decisions in a log that match the flags.")
    .option("-n, --lines <COUNT>", "the number of decisions", parseCount, 10)
    .option("-f, --follow", "then print each new decision, until interrupted")
    .action(tail);
}

function withFilter(command: Command): Command {
  return command
    .argument("[log]", "the newest file of the log")
    .option(
      "--postgres",
      "read the log in the PostgreSQL that CLAIMCHECK_AUDIT_URL, or PGHOST, PGUSER …, name",
    )
    .option("--tenant <NAME>", "only decisions about this tenant")
    .option("--uri <URI>", "only decisions about this secret, spelled as in the log")
    .option("--principal <NAME>", "only decisions about this principal")
    .addOption(
      new Option("--format <FORMAT>", "text for people, json for programs")
        .choices(["text", "json"])
        .default("text"),
    );
}

const filterOf = ({ tenant, uri, principal, since, until }: ShowOptions): AuditFilter => ({
  tenant,
  principal,
  uris: uri === undefined ? undefined : [uri],
  since,
  until,
});

async function show(log: string | undefined, options: ShowOptions): Promise<void> {
  const source = await openSource(log === undefined ? [] : [log], options.postgres ?? false, process.env);
  const print = await printer(options.format);
  try {
    for await (const entries of source.pages(filterOf(options))) print(entries);
  } catch (cause) {
    throw unreadable(source, cause);
  } finally {
    await source.close();
  }
}

async function tail(log: string | undefined, { lines, follow, ...options }: TailOptions): Promise<void> {
  const source = await openSource(log === undefined ? [] : [log], options.postgres ?? false, process.env);
  const print = await printer(options.format);
  const filter = filterOf(options);
  try {
    let last: AuditEntry[] = [];
    const place = { after: await source.recent(filter, lines) };
    for await (const entries of source.pages(filter, place)) last = [...last, ...entries].slice(-lines);
    print(last);
    while (follow) {
      await setTimeout(pause);
      for await (const entries of source.pages(filter, place)) print(entries);
    }
  } catch (cause) {
    throw unreadable(source, cause);
  } finally {
    await source.close();
  }
}

async function printer(format: ShowOptions["format"]) {
  const { encodeLine } = await import("../../broker/audit/record.ts");
  // In a pipe the bytes are those of the log, whose hash counts; a terminal would do what they say.
  const json = process.stdout.isTTY ? (entry: AuditEntry) => escapeJson(encodeLine(entry)) : encodeLine;
  const write = format === "json" ? json : describe;
  // Whoever read it, as `head` does, has seen enough.
  process.stdout.once("error", () => process.exit());
  return (entries: readonly AuditEntry[]): void => {
    process.stdout.write(entries.map((entry) => `${write(entry)}\n`).join(""));
  };
}

/** One line, from what is asked for most to what is asked for least. */
function describe(entry: AuditEntry): string {
  const { time, tenant } = entry;
  if (entry.type === "summary") {
    const times = entry.count === 1 ? "once" : `${entry.count} times`;
    const whose = tenant === undefined ? "" : ` of ${tenant}`;
    return safe(`${time}  refused    ${times} since ${entry.since}${whose}: ${entry.code}`);
  }
  const { outcome, action, uri, jti, principal, code, rule, run, subject, masked } = entry;
  const particulars = [
    `by ${principal ?? "nobody"} of ${tenant ?? "no tenant"}`,
    code,
    rule && `rule "${rule}"`,
    run && `run "${run}"`,
    subject && `all of ${subject}`,
    masked === false && "not masked",
  ];
  const what = uri ?? jti ?? "";
  return safe(
    `${time}  ${outcome.padEnd(9)}  ${action.padEnd(7)}  ${what && `${what}  `}${particulars.filter(Boolean).join(", ")}`,
  );
}

/** What makes a terminal do things: controls, bidirectional overrides, line separators, halves of characters. */
const odd = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** What others chose may hold it. */
const safe = (text: string): string =>
  text.replace(odd, (each) => `\\u{${each.codePointAt(0)?.toString(16)}}`);

/** The same JSON in other letters: such characters are in its strings alone. */
const escapeJson = (json: string): string =>
  json.replace(odd, (each) =>
    Array.from(
      { length: each.length },
      (_, nth) => `\\u${each.charCodeAt(nth).toString(16).padStart(4, "0")}`,
    ).join(""),
  );

/** @returns it in the form that the log's times have. */
function parseTime(text: string): string {
  if (/^[\d.]+[smhd]$/.test(text)) return new Date(Date.now() - parseDuration(text) * 1000).toISOString();
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? new Date(text) : new Date(Number.NaN);
  if (Number.isNaN(time.getTime())) throw new InvalidArgumentError("it takes a time, or how long ago");
  return time.toISOString();
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError("it takes a number from 1 to 9999");
  return Number(text);
}
