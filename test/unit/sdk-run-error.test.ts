/** The TypeScript front end where its `claimcheck` command is missing or ends without an answer. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, onTestFinished, test, vi } from "vitest";
import { container, RunError } from "../../sdk/typescript/claimcheck.ts";

const chain = () => container().from("alpine").withExec(["true"]).sync();

afterEach(() => void vi.unstubAllEnvs());

/** @returns the error of a run with this script in the place of `claimcheck`. */
async function errorWith(script: string): Promise<RunError> {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-sdk-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const command = join(folder, "claimcheck");
  writeFileSync(command, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  vi.stubEnv("CLAIMCHECK_COMMAND", command);
  const error = await chain().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(RunError);
  return error as RunError;
}

test("a missing command is one sentence that says how to install it", async () => {
  vi.stubEnv("CLAIMCHECK_COMMAND", "no-such-claimcheck");
  await expect(chain()).rejects.toMatchObject({
    name: "RunError",
    code: "not_installed",
    message:
      'The command no-such-claimcheck could not be started (ENOENT): install it with "npm install --global claimcheck", or set CLAIMCHECK_COMMAND to its path',
  });
});

test("a command without an answer is told with its exit code and its standard error", async () => {
  expect(await errorWith("read line; echo no events; echo what went wrong >&2; exit 9")).toMatchObject({
    code: "no_answer",
    exitCode: 9,
    message: "what went wrong",
    stderr: "what went wrong",
  });
  expect(await errorWith("exit 0")).toMatchObject({
    code: "no_answer",
    message: "claimcheck ended with exit code 0 and without an answer",
  });
});

test("an error of the run has its own code, and the standard error of the command that failed", async () => {
  const events = [
    { type: "step", step: 0 },
    { type: "stderr", data: Buffer.from("boom\n").toString("base64") },
    { type: "error", code: "timed_out", title: "The command exceeded its time limit.", exitCode: 124 },
  ];
  const printed = events.map((event) => `echo '${JSON.stringify(event)}'`).join("\n");
  expect(await errorWith(`read line\n${printed}`)).toMatchObject({
    code: "timed_out",
    exitCode: 124,
    stderr: "boom\n",
    message: "The command exceeded its time limit.",
  });
});
