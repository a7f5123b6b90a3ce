/** The leak guard over what a real overlay holds, as GNU tar reads it. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openLayerStore } from "../../executor/layers/layer-store.ts";
import { createFileSearch } from "../../executor/leaks/file-search.ts";
import { createLeakGuard } from "../../executor/leaks/leak-guard.ts";
import { createScrubber } from "../../executor/scrub/scrubber.ts";
import { inOverlay, scratch, setAttribute } from "../support/overlay.ts";

const value = "s3cret/value";
const base64 = Buffer.from(value).toString("base64");
const environment = { PATH: process.env.PATH ?? "", value, base64 };

const outside = join(mkdtempSync(join(tmpdir(), "claimcheck-outside-")), "file");
writeFileSync(outside, value);

interface Setting {
  readonly values?: readonly (string | Buffer)[];
  /** Done to the upper folder after the script. */
  readonly prepare?: (upper: string) => void;
}

/** What the guard says of what a shell script leaves. */
async function reportOf(script: string, { values = [value], prepare }: Setting = {}): Promise<string> {
  const folder = scratch();
  for (const name of ["lower", "upper"]) mkdirSync(`${folder}/${name}`);
  inOverlay(`value=${value}; base64=${base64}\n${script}`, [`${folder}/lower`], `${folder}/upper`);
  prepare?.(`${folder}/upper`);
  const scrubber = createScrubber(
    values.map((each) => Buffer.from(each)),
    { literals: [Buffer.from("a.handle.of-it")] },
  );
  const guard = createLeakGuard(
    scrubber,
    (index) => ["TOKEN", "PASSWORD"].slice(0, values.length)[index] ?? "a handle",
  );
  const store = openLayerStore(`${folder}/layers`, { environment });
  for await (const { content } of guard.watch(store.changes(`${folder}/upper`)))
    for await (const _ of content);
  const report = guard.report();
  for (const each of [value, base64]) expect(report).not.toContain(each);
  return report;
}

test.each<[where: string, script: string, report: string]>([
  ["a file", "echo one > a; echo two $value >> a", "TOKEN in /a, line 2"],
  ["a file in a folder", "mkdir -p a/b; echo $value > a/b/c", "TOKEN in /a/b/c, line 1"],
  ["a file that nobody may read", "echo $value > a; chmod 0 a", "TOKEN in /a, line 1"],
  ["a file as base64", "echo $base64 > a", "TOKEN in /a, line 1"],
  ["a file with two names", "echo $value > a; ln a b", "TOKEN in /a, line 1"],
  ["a file more than once", "yes $value | head -n 1000 > a", "TOKEN in /a, line 1"],
  [
    "the last bytes of a large file",
    "yes | head -c 300M > a; printf $value >> a",
    "TOKEN in /a, line 157286401",
  ],
  ["a handle in a file", "echo a.handle.of-it > a", "a handle in /a, line 1"],
  ["a file that was changed", "echo first > a; sync; echo $value >> a", "TOKEN in /a, line 2"],
  ["a name", ": > before-$base64-after", "TOKEN in the name of /before-***-after"],
  ["names that meet", "mkdir s3cret; : > s3cret/value", "TOKEN in the name of /***"],
  [
    "a folder's name, told once",
    "mkdir before-$base64; : > before-$base64/a; : > before-$base64/b",
    "TOKEN in the name of /before-***",
  ],
  ["the name of a FIFO", "mkfifo $base64", "TOKEN in the name of /***"],
  ["a link's target", "ln -s /srv/$value a", "TOKEN in the link target of /a"],
  ["a link's name", "ln -s /etc/shadow $base64", "TOKEN in the name of /***"],
  [
    "names with signs of their own",
    `echo $value > $'a\\nb\\e[31m\\xe2\\x80\\xae'; echo $value > $'\\xff'`,
    "TOKEN in /a\\u{a}b\\u{1b}[31m\\u{202e}, line 1; TOKEN in /\ufffd, line 1",
  ],
  ["nowhere", "echo s3cret > a; echo value >> a; mkfifo fifo; ln -s /etc/shadow link; : > $'x\\ny'", ""],
  // What is behind it is not this layer's.
  ["the file behind a link", `cat ${outside} > /dev/null; ln -s ${outside} a`, ""],
])("%s", async (_, script, report) => {
  expect(await reportOf(script)).toBe(report);
});

test("however the file is cut into pieces", async () => {
  const bytes = Buffer.from(`one\ntwo ${value}\nthree ${base64}`);
  const finder = () => createScrubber([Buffer.from(value)]).finder();
  for (let cut = 0; cut <= bytes.length; cut++) {
    const search = createFileSearch(finder(), 100);
    const found = [0, cut].flatMap((from, index) =>
      search.push({ offset: from, bytes: bytes.subarray(from, index === 0 ? cut : bytes.length) }),
    );
    expect({ cut, lines: found.map(({ line }) => line) }).toEqual({ cut, lines: [2, 3] });
  }
});

test("across the borders of holes, and behind a terabyte of them", async () => {
  const binary = Buffer.concat([Buffer.from("start"), Buffer.alloc(10_000), Buffer.from("end")]);
  const script = `
    truncate -s 1T far; echo far >> far; echo $value >> far
    printf start > inside; truncate -s 10005 inside; printf end >> inside
    printf x > end; truncate -s 8191 end; printf start >> end; truncate -s 2M end
    truncate -s 8192 short; printf end >> short`;
  const ending = Buffer.concat([Buffer.from("start"), Buffer.alloc(20_000)]);
  expect(await reportOf(script, { values: [value, binary] })).toBe(
    "TOKEN in /far, line 2; PASSWORD in /inside, line 1",
  );
  expect(await reportOf(script, { values: [value, ending] })).toBe(
    "PASSWORD in /end, line 1; TOKEN in /far, line 2",
  );
});

test("a value of several lines, which begins in another chunk than it ends in", async () => {
  const lines = Array.from({ length: 400 }, (_, index) => `line ${index} of a value that has many of them`);
  const script = `head -c 65530 /dev/zero > a; echo >> a; cat >> a <<'END'\n${lines.join("\n")}\nEND`;
  expect(await reportOf(script, { values: [lines.join("\n")] })).toBe("TOKEN in /a, line 2");
});

test("the attributes of files, folders and links", async () => {
  const report = await reportOf("mkdir a; : > b; ln -s x c", {
    prepare(upper) {
      setAttribute(`${upper}/a`, "user.note", `before ${value}`);
      setAttribute(`${upper}/b`, `user.${base64}=`, "x");
      setAttribute(`${upper}/c`, "trusted.note", base64);
      setAttribute(`${upper}/b`, "trusted.overlay.note", value);
    },
  });
  expect(report).toBe(
    "TOKEN in the attribute user.note of /a; TOKEN in the attribute user.***= of /b; TOKEN in the attribute trusted.note of /c",
  );
});

test("ten thousand files", async () => {
  const report = await reportOf("seq 10000 | split -l 1 -a 4 - file-; echo $value > file-zzzz");
  expect(report).toBe("TOKEN in /file-zzzz, line 1");
});
