import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { lineShower } from "../../../../bin/serve-broker/show-line.ts";
import { cmdProvider } from "../../../../broker/providers/cmd.ts";
import { until } from "../../../parts/host.ts";
import { reader } from "../../../support/provider.ts";
import { refusalOf } from "../../../support/refusal.ts";

const settings = {
  environment: { PATH: "/usr/bin:/bin" },
  workingDirectory: "/",
  showLine: lineShower({ PATH: "/usr/bin:/bin", API_KEY: "open-sesame" }),
};
const { parse, read } = reader(cmdProvider({ ...settings, commands: "any" }));
/** A number that no other command on this host has in its arguments. */
const mark = () => `7${process.hrtime.bigint() % 1_000_000_000n}.25`;

/** The state and the arguments of this host's processes. */
const processes = () =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
          .replace(/^.*\) /s, "")
          .split(" ");
        const args = readFileSync(`/proc/${pid}/cmdline`, "latin1");
        return [{ state: fields[0], parent: Number(fields[1]), args }];
      } catch {
        return []; // It ended meanwhile.
      }
    });
const isGone = (text: string) => !processes().some(({ args }) => args.includes(text));

describe("cmd://", () => {
  test("gives what the command prints, byte for byte", async () => {
    expect(await read("cmd://printf 'a\\0\\377b\\r\\n'", "cmd://true")).toEqual(["a\0\xffb\r\n", ""]);
  });

  test("takes what looks like parameters for the command", async () => {
    const uri = "cmd://echo '?trim=newline&ttl=0#x%20'";
    expect(parse(uri).canonical).toBe(uri);
    expect(await read(uri)).toEqual(["?trim=newline&ttl=0#x%20\n"]);
  });

  test("gives 512 KiB of bytes intact, and nothing over 1 MiB", async () => {
    const [half] = await read("cmd://head -c 524288 /dev/zero");
    expect(half).toBe("\0".repeat(512 * 1024));
    expect(await read("cmd://head -c 1048577 /dev/zero", "cmd://yes")).toMatchObject([
      { code: "secret_too_large" },
      { code: "secret_too_large" },
    ]);
  });

  test("gives the command nothing of our environment, and no standard input", async () => {
    const [environment] = await read("cmd://env");
    const names = String(environment).match(/^\w+(?==)/gm) ?? [];
    // Besides PATH, what all that it starts is known by, and what a shell sets by itself.
    expect(["PATH", "CLAIMCHECK_COMMAND", "PWD", "OLDPWD", "SHLVL", "_"]).toEqual(
      expect.arrayContaining(names),
    );
    expect(names).toContain("PATH");
    expect(await read("cmd://cat")).toEqual([""]);
  });

  test("gives the command variables that are not UTF-8 as they are, and no others", async () => {
    const every = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1));
    const environment = { ...settings.environment, ODD: every, LAST: Buffer.from([0xff, 10, 10]), TEXT: "ä" };
    const { read } = reader(cmdProvider({ ...settings, environment, commands: "any" }));
    expect(
      await read(
        'cmd://printf %s "$ODD"',
        'cmd://printf %s "$LAST$TEXT$0"',
        "cmd://env | grep -c ^CLAIMCHECK_BYTES",
      ),
    ).toMatchObject([
      every.toString("latin1"),
      "\xff\n\n\xc3\xa4/bin/sh",
      { code: "provider_failed", detail: expect.stringContaining("exit status 1") },
    ]);
  });

  test("does not run with a variable whose bytes nobody can tell", async () => {
    const environment = { ...settings.environment, ODD: null };
    const { read } = reader(cmdProvider({ ...settings, environment, commands: "any" }));
    expect(await read("cmd://echo ran")).toMatchObject([
      { code: "provider_failed", detail: expect.stringContaining("the variable ODD") },
    ]);
  });

  test("keeps two identical commands to one process", async () => {
    const uri = "cmd://cat /proc/sys/kernel/random/uuid";
    const [first, second] = await read(uri, uri);
    expect(first).toBe(second);
  });
});

describe("a command that fails", () => {
  test("is told to its user by exit status or signal, 3 characters, and the last line of its standard error", async () => {
    expect(
      await read(
        "cmd://echo first >&2; printf 'no such item\\n\\n ' >&2; exit 3",
        "cmd://kill -TERM $$",
        "cmd://no-such-command-here --password=sesame 2>/dev/null",
      ),
    ).toEqual([
      {
        code: "provider_failed",
        detail: "cmd://ech… ended with exit status 3; the last line of its standard error: no such item",
      },
      { code: "provider_failed", detail: "cmd://kil… was ended by SIGTERM" },
      { code: "provider_failed", detail: "cmd://no-… ended with exit status 127" },
    ]);
  });

  test.each([
    ["a value of this user's variables", "echo wrong: open-sesame >&2", "wrong: ***"],
    ["what it has printed already", "echo half-a-value; echo got half-a-value >&2", "got ***"],
    ["that in base64", "echo half-a-value; printf half-a-value | base64 >&2", "***"],
    ["one line of it", "printf 'line-one\\nline-two\\n'; echo saw line-two >&2", "saw ***"],
    ["what a terminal obeys", "printf 'a\\033[2Jb\\342\\200\\256c\\n' >&2", "a\\u{1b}[2Jb\\u{202e}c"],
    ["more than 300 characters", "printf %0400d 0 >&2", `${"0".repeat(300)}…`],
  ])("its last line shows nothing of %s", async (_, command, shown) => {
    const [failure] = await read(`cmd://${command}; exit 1`);
    expect(failure).toEqual({
      code: "provider_failed",
      detail: expect.stringMatching(/ended with exit status 1; the last line of its standard error: /),
    });
    expect((failure as { detail: string }).detail.split("error: ")[1]).toBe(shown);
  });

  test("a line that began before what is kept is not shown: the cut could lie in a value", async () => {
    const [failure] = await read("cmd://printf 'open-sesame%04090d' 0 >&2; exit 1");
    expect(failure).toEqual({ code: "provider_failed", detail: "cmd://pri… ended with exit status 1" });
  });

  test("is told to others by 3 characters alone", async () => {
    const { showLine, ...central } = settings;
    const { read } = reader(cmdProvider({ ...central, commands: "any" }));
    const why = "failed; the broker's operator can run it on the broker's host to see why";
    expect(await read("cmd://echo sesame; echo sesame >&2; exit 3", "cmd://kill -TERM $$")).toEqual([
      { code: "provider_failed", detail: `cmd://ech… ${why}` },
      { code: "provider_failed", detail: `cmd://kil… ${why}` },
    ]);
  });

  test("because there is no working directory is told as that", async () => {
    const lost = reader(cmdProvider({ ...settings, workingDirectory: "/no/such", commands: "any" }));
    expect(await lost.read("cmd://true")).toEqual([
      { code: "provider_failed", detail: "cmd://tru… did not start (ENOENT)" },
    ]);
  });

  test.each(["", " \n\t", "a\0b", "\ud800"])("because it is none is refused: %j", async (command) => {
    expect(await refusalOf(() => parse(`cmd://${command}`))).toMatchObject({ code: "invalid_uri" });
  });
});

describe("nothing of a command goes on", () => {
  test("at its time limit: all that it started is killed, and it is reported as that", async () => {
    const impatient = reader(cmdProvider({ ...settings, commands: "any", timeLimit: 300 }));
    const time = mark();
    expect(await impatient.read(`cmd://trap '' TERM; (sleep ${time} & wait) & sleep ${time}`)).toEqual([
      { code: "provider_timeout", detail: "cmd://tra… was killed at its time limit" },
    ]);
    await until(() => isGone(time));
  });

  test("when it has ended and left something running", async () => {
    const time = mark();
    expect(await read(`cmd://sleep ${time} & echo done`)).toEqual(["done\n"]);
    // Of a session of its own, with the output in its hand, and without.
    for (const output of ["", ">/dev/null 2>&1 </dev/null"]) {
      expect(await read(`cmd://setsid sleep ${time} ${output} & sleep 0.1; echo done`)).toEqual(["done\n"]);
      expect(
        await read(`cmd://(setsid sh -c 'sleep ${time} & sleep ${time}' ${output} &); echo done`),
      ).toEqual(["done\n"]);
    }
    await until(() => isGone(time));
  });

  test("when what it left running is always in the middle of an execve, or has just started its successor", async () => {
    const [again, next] = [mark(), mark()];
    const loop = (name: string, step: string) =>
      `loop='${step}'; export loop; setsid sh -c "$loop" sh ${name} &`;
    for (let round = 0; round < 10; round++) {
      const uri = `cmd://${loop(again, `exec sh -c "$loop" sh $1`)} sleep 0.02; echo done`;
      expect(await read(uri)).toEqual(["done\n"]);
    }
    expect(
      await read(`cmd://${loop(next, `(sleep 0.05; exec sh -c "$loop" sh $1) &`)} sleep 0.02; echo done`),
    ).toEqual(["done\n"]);
    await until(() => isGone(again) && isGone(next));
  });

  test("when it prints without end", async () => {
    const text = mark();
    expect(await read(`cmd://yes ${text} | cat`)).toMatchObject([{ code: "secret_too_large" }]);
    await until(() => isGone(text));
  });

  test("not even a zombie of ours", async () => {
    await read("cmd://true", "cmd://exit 1", "cmd://yes");
    await until(() => !processes().some(({ state, parent }) => state === "Z" && parent === process.pid));
  });
});

describe("on a central broker", () => {
  const allowed = reader(cmdProvider({ ...settings, commands: ["echo a"] }));

  test("exactly the listed commands exist", async () => {
    const others = ["echo a ", "echo  a", " echo a", "echo a\n", "echo a; id", "echo b", "ECHO a"];
    expect(await allowed.read("cmd://echo a")).toEqual(["a\n"]);
    expect(await allowed.read(...others.map((command) => `cmd://${command}`))).toMatchObject(
      others.map(() => ({ code: "provider_denied" })),
    );
  });

  test("none does where none is listed", async () => {
    const none = reader(cmdProvider({ ...settings, commands: [] }));
    expect(await none.read("cmd://true")).toEqual([
      { code: "provider_denied", detail: "cmd://tru…: this broker does not run it" },
    ]);
  });
});
