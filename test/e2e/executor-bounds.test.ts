/** Plans that are too large for what they ask, and what they do to the executor that gets them. */
import { expect, test } from "vitest";
import { until } from "../parts/host.ts";
import { ask, type ExecutorHost, outputOf, planOf, startHost } from "../support/executor.ts";

const long = "x".repeat(1024 * 1024);
const times = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, at) => make(at));

/** What an executor answers to a body. It repeats nothing that has no bound. */
async function refusal(host: ExecutorHost, body: unknown) {
  const { status, text } = await ask(host.socket, body);
  expect(text.length).toBeLessThan(1000);
  const { code, detail } = JSON.parse(text);
  return { status, code, detail };
}

/** It runs other plans, and ends when it is told. */
async function expectAlive(host: ExecutorHost) {
  const { events } = await ask(host.socket, { plan: planOf({ script: "echo still here" }) });
  expect(outputOf(events, "stdout")).toBe("still here\n");
  await until(() => host.leftovers().length === 0);
  host.executor.child.kill("SIGTERM");
  expect((await host.executor.finished).code).toBe(0);
}

test("a text of a plan that is too long is refused before anything runs", async () => {
  const host = await startHost();
  const rows: [what: string, step: object, detail: RegExp][] = [
    ["an argument", { args: ["true", long] }, /^steps\[0\]: an argument has 1048576 bytes; at most 131071/],
    ["all arguments", { args: times(20, () => "x".repeat(120_000)) }, /^steps\[0\]: its arguments and var/],
    ["a variable", { env: { A: long } }, /^steps\[0\]: a variable has 1048578 bytes/],
    ["a volume's source", { volumes: [{ source: `/${long}`, target: "/v" }] }, /the source of a volume/],
    ["a volume's target", { volumes: [{ source: "/v", target: `/${long}` }] }, /the target of a volume/],
    ["a file's path", { files: [{ path: `/${long}`, content: "" }] }, /the path of a file has 1048577 bytes/],
    [
      "a name in it",
      { files: [{ path: `/${"x".repeat(256)}`, content: "" }] },
      /a name in the path of a file/,
    ],
    ["a link", { files: [{ path: "/x", link: long }] }, /the link of a file/],
    ["an owner", { files: [{ path: "/x", owner: long }] }, /the owner of a file/],
    ["a working folder", { workdir: `/${long}` }, /workdir has 1048577 bytes; at most 4095/],
    ["a deep working folder", { workdir: `/${"x/".repeat(2048)}` }, /workdir has 4097 bytes/],
    ["a user", { user: long }, /user has/],
    ["a name", { name: long }, /name has/],
    ["a secret's URI", { secretEnv: { A: `env://${long}` } }, /the uri of a secret/],
    ["a secret's handle", { secretEnv: { A: { handle: long } } }, /the handle of a secret/],
    [
      "a secret file's path",
      { secretFiles: [{ path: `/${long}`, uri: "env://A" }] },
      /path of a secret file/,
    ],
    ["a text with a NUL byte", { args: ["a\0b"] }, /an argument has a NUL byte/],
  ];
  for (const [what, step, detail] of rows) {
    expect(await refusal(host, { plan: planOf({ script: "true", ...step }) }), what).toEqual({
      status: 400,
      code: "invalid_request",
      detail: expect.stringMatching(detail),
    });
  }
  const plan = { ...planOf({ script: "true" }), image: `localhost/claimcheck-busybox:${long}` };
  expect(await refusal(host, { plan })).toMatchObject({ code: "invalid_request" });
  await expectAlive(host);
});

test("too many of something are refused before anything runs", async () => {
  const host = await startHost();
  const uri = "env://A";
  const secretEnv = (step: number) =>
    Object.fromEntries(times(600, (at) => [`A${at}`, `env://A${step}_${at}`]));
  const rows: [plan: object, detail: RegExp][] = [
    [planOf(...times(401, () => ({ script: "true" }))), /it has 401 steps; at most 400/],
    [
      planOf({ script: "", volumes: times(257, (at) => ({ source: "/v", target: `/v${at}` })) }),
      /257 volumes; at most 256/,
    ],
    [
      planOf({ script: "", secretFiles: times(1001, (at) => ({ path: `/s${at}`, uri })) }),
      /1001 secretFiles; at most 1000/,
    ],
    [
      planOf(...times(2, (step) => ({ script: "", secretEnv: secretEnv(step) }))),
      /the plan: it has 1200 secrets; at most 1000/,
    ],
  ];
  for (const [plan, detail] of rows) {
    expect(await refusal(host, { plan })).toEqual({
      status: 400,
      code: "invalid_request",
      detail: expect.stringMatching(detail),
    });
  }
});

test("a body of more values than a plan can have is refused before it is parsed", async () => {
  const host = await startHost();
  const rows: [what: string, body: unknown][] = [
    ["steps that are none", { plan: { version: 1, image: "x", steps: times(900_000, () => 1) } }],
    ["secret files", { plan: planOf({ script: "", secretFiles: times(230_000, () => ({})) }) }],
    ["files", { plan: planOf({ script: "", files: times(330_000, () => ({})) }) }],
    ["brackets", "[".repeat(3_000_000)],
    ["values", { plan: {}, values: Object.fromEntries(times(200_000, (at) => [`A${at}`, "!"])) }],
  ];
  for (const [what, body] of rows) {
    expect(await refusal(host, body), what).toEqual({
      status: 413,
      code: "body_too_large",
      detail: "it has more than 25000 values",
    });
  }
});

test("a runtime that says much does not wait for ever for somebody to listen", async () => {
  const host = await startHost();
  for (const field of ["args", "entrypoint"]) {
    const plan = planOf({ script: "", [field]: ["x".repeat(131_000), "y".repeat(131_000)] });
    const { events } = await ask(host.socket, { plan });
    expect(events.at(-1)).toMatchObject({ type: "error", exitCode: expect.any(Number) });
  }
  await expectAlive(host);
});
