/** claimcheck audit show and tail: what they print of a log, in a file and in PostgreSQL. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openChain } from "../../broker/audit/chain.ts";
import { postgresSink } from "../../broker/audit/postgres.ts";
import type { Unplaced } from "../../broker/audit/record.ts";
import { type PostgresServer, startPostgres } from "../parts/postgres.ts";
import { decision, keys, linesOf, newLog, openLog, recordsOf } from "../support/audit-log.ts";
import { claimcheck, printed, start, startAtTerminal } from "../support/command.ts";

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server.stop());

const about = (request: string, given: Partial<ReturnType<typeof decision>>) => ({
  ...decision(request),
  principal: "ci",
  uri: "env://API_TOKEN",
  ...given,
});

const lines: Unplaced[] = [
  about("a", { action: "issue", outcome: "issued", rule: "deploy from main", run: "build-1842" }),
  about("b", { masked: false }),
  about("c", { tenant: "rival", principal: "job", outcome: "denied", code: "no_rule" }),
  about("d", { uri: "env://OTHER" }),
  { type: "summary", code: "token_expired", count: 200, since: "2026-11-23T12:00:00.000Z" },
  { type: "summary", code: "quota_exceeded", tenant: "acme", count: 1, since: "2026-11-23T12:00:00.000Z" },
];

const asText = [
  'issued     issue    env://API_TOKEN  by ci of acme, rule "deploy from main", run "build-1842"',
  "released   redeem   env://API_TOKEN  by ci of acme, not masked",
  "denied     redeem   env://API_TOKEN  by job of rival, no_rule",
  "released   redeem   env://OTHER  by ci of acme",
  "refused    200 times since 2026-11-23T12:00:00.000Z: token_expired",
  "refused    once since 2026-11-23T12:00:00.000Z of acme: quota_exceeded",
];

const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z {2}/gm;
const untimed = (text: string) => text.replaceAll(time, "");

/** Where a log is, and how a command is told. */
interface Place {
  open(): ReturnType<typeof openChain>;
  readonly args: readonly string[];
  readonly env: Record<string, string>;
}

const places: [string, () => Promise<Place>][] = [
  [
    "in a file",
    async () => {
      const path = newLog();
      return { open: () => openLog(path), args: [path], env: {} };
    },
  ],
  [
    "in PostgreSQL",
    async () => {
      const { url } = await server.create();
      const sink = () => postgresSink({ url, broker: "one", findKey: keys.findAuditKey });
      const env = { CLAIMCHECK_AUDIT_URL: url };
      return { open: () => openChain(sink(), keys.auditKey), args: ["--postgres"], env };
    },
  ],
];

describe.each(places)("of a log %s", (_, place) => {
  async function write(): Promise<Place> {
    const made = await place();
    const chain = await made.open();
    // In one write, so at one time: the number decides.
    await chain.append(lines);
    await chain.close();
    return made;
  }

  const run = ({ args, env }: Place, command: string, ...more: string[]) =>
    claimcheck(["audit", command, ...args, ...more], { env });

  test("show prints every entry, in its order", async () => {
    const { code, stdout, stderr } = await run(await write(), "show");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.match(time)).toHaveLength(lines.length);
    expect(untimed(stdout)).toBe(`${asText.join("\n")}\n`);
  });

  test.each([
    [
      ["--tenant", "acme"],
      [0, 1, 3, 5],
    ],
    [
      ["--tenant", "acme", "--uri", "env://API_TOKEN"],
      [0, 1],
    ],
    [["--principal", "job"], [2]],
    [
      ["--since", "1h"],
      [0, 1, 2, 3, 4, 5],
    ],
    [["--since", "2100-01-01"], []],
    [["--until", "2000-01-01T00:00:00Z"], []],
    [["--tenant", "nobody"], []],
  ])("show %s prints those that fit", async (options, expected) => {
    const { stdout } = await run(await write(), "show", ...options);
    expect(untimed(stdout)).toBe(expected.map((nth) => `${asText[nth]}\n`).join(""));
  });

  test("show --format json prints the lines as they are", async () => {
    const made = await write();
    const { stdout } = await run(made, "show", "--format", "json", "--tenant", "rival");
    expect(JSON.parse(stdout)).toMatchObject({ seq: 3, tenant: "rival", request: "c" });
    if (made.args[0] !== "--postgres") expect(linesOf(made.args[0]!)).toContain(stdout.trimEnd());
  });

  test("tail prints the last ones", async () => {
    const made = await write();
    expect(untimed((await run(made, "tail", "-n", "2")).stdout)).toBe(`${asText.slice(-2).join("\n")}\n`);
    expect(untimed((await run(made, "tail")).stdout)).toBe(`${asText.join("\n")}\n`);
    const acme = await run(made, "tail", "-n", "1", "--tenant", "rival");
    expect(untimed(acme.stdout)).toBe(`${asText[2]}\n`);
  });

  test("tail --follow prints what comes, once", async () => {
    const made = await write();
    const chain = await made.open();
    const following = start(["audit", "tail", ...made.args, "-n", "1", "--follow"], { env: made.env });
    await printed(following, "quota_exceeded");
    await chain.append([about("e", { uri: "env://NEW" })]);
    await printed(following, "env://NEW");
    await chain.append([about("f", { uri: "env://NEWER" })]);
    await printed(following, "env://NEWER");
    await chain.close();
    following.child.kill();
    expect(untimed((await following.finished).stdout).split("\n")).toEqual([
      asText[5],
      "released   redeem   env://NEW  by ci of acme",
      "released   redeem   env://NEWER  by ci of acme",
      "",
    ]);
  });

  test("what others chose does nothing to the terminal", async () => {
    const made = await place();
    const chain = await made.open();
    await chain.append([about("a", { principal: "\x1b]0;owned\x07\u202e\r\n", run: "\u009b2J" })]);
    await chain.close();
    const { stdout } = await run(made, "show");
    expect(stdout).toContain(String.raw`by \u{1b}]0;owned\u{7}\u{202e}\u{d}\u{a} of acme, run "\u{9b}2J"`);
  });

  test("nor as JSON, where standard output is one; elsewhere the bytes are those of the log", async () => {
    const made = await place();
    const chain = await made.open();
    const principal = "\x1b]0;owned\x07\u202e\u{e0041}\ud800";
    const run = "\u009b2J\u2028";
    await chain.append([about("a", { principal, run })]);
    await chain.close();
    const shown = startAtTerminal(`claimcheck audit show --format json ${made.args.join(" ")}`, {
      env: made.env,
    });
    shown.child.stdin!.end();
    const { stdout } = await shown.finished;
    const line = stdout.split(/\r?\n/).find((each) => each.startsWith("{"))!;
    expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    expect(line).toContain(String.raw`\u009b2J\u2028`);
    expect(JSON.parse(line)).toMatchObject({ principal, run });
    const piped = await claimcheck(["audit", "show", "--format", "json", ...made.args], { env: made.env });
    expect(piped.stdout).toContain("\u009b2J\u2028");
  });
});

describe("of a file", () => {
  test("tail finds the end of a long one, and follows it into the next", async () => {
    const path = newLog();
    const chain = await openLog(path, 3_000_000);
    await chain.append(
      Array.from({ length: 6_000 }, (_, nth) =>
        about(`${nth}`, { uri: `env://N${nth}`, run: "x".repeat(200) }),
      ),
    );
    const last = recordsOf(path).length - 3;
    expect(last).toBe(5_999);
    const following = start(["audit", "tail", path, "-n", "2", "-f"]);
    await printed(following, "N5999");
    expect(following.output.stdout).not.toContain("N5997");
    await chain.append([about("next", { uri: "env://NEXT" })]);
    await printed(following, "env://NEXT");
    await chain.append([about("last", { uri: "env://LAST" })]);
    await printed(following, "env://LAST");
    following.child.kill();
    await chain.close();
    onTestFinished(() => void following.child.kill());
  });

  test.each([
    [["show"], "FILE or --postgres"],
    [["show", "/nowhere/audit.jsonl"], "cannot be read (ENOENT)"],
    [["tail", "/nowhere/audit.jsonl"], "cannot be read (ENOENT)"],
    [["show", "--since", "yesterday", "x"], "it takes a time, or how long ago"],
    [["tail", "-n", "0", "x"], "it takes a number from 1 to 9999"],
  ])("%s is a mistake of use that is told", async (args, why) => {
    const { code, stderr } = await claimcheck(["audit", ...args]);
    expect(code).toBe(125);
    expect(stderr).toContain(why);
    expect(stderr).toMatch(/^claimcheck: .*\[usage\]\n$/);
  });
});
