/** What a file of variables says: to `.env` readers, whatever their language, and to `--env-file`. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { expect, test } from "vitest";
import * as z from "zod/mini";
import { readDockerEnvFile } from "../../../../bin/run/env-file.ts";
import { addStepFlags } from "../../../../bin/run/flags.ts";
import { envFile, envFileLimit } from "../../../../sdk/typescript/env-file.ts";
import { valueBeside } from "../../../../sdk/typescript/secret.ts";
import { Failure } from "../../../../shared/failure.ts";
import { readVectors } from "../../../support/vector.ts";

/** The variables as JSON, or `refused LINE: WHY`. */
const Vector = z.strictObject({ comment: z.string(), expect: z.string(), expect_flag: z.string() });
const vectors = readVectors("env", Vector);
const folder = mkdtempSync(join(tmpdir(), "claimcheck-env-"));

function fileOf(content: Uint8Array): string {
  const path = join(folder, "file.env");
  writeFileSync(path, content);
  return path;
}

/** In the order of their names, because nothing else of it counts. */
const expected = (text: string) =>
  text.startsWith("refused ")
    ? text
    : (Object.entries(JSON.parse(text)) as [string, string][]).sort(([a], [b]) => (a < b ? -1 : 1));

function outcomeOf(path: string, read: () => (readonly [name: string, value: string])[]) {
  try {
    return read().sort(([a], [b]) => (a < b ? -1 : 1));
  } catch (thrown) {
    const message = thrown instanceof Failure ? (thrown.detail ?? "") : (thrown as Error).message;
    return `refused ${message.slice(message.indexOf(path) + path.length + 1)}`;
  }
}

test.each(vectors)("%s means the same to a list of secrets", (_, vector, content) => {
  const path = fileOf(content);
  const read = () =>
    envFile(path).map((secret) => [secret.name, Buffer.from(valueBeside(secret)!).toString()] as const);
  expect(outcomeOf(path, read)).toEqual(expected(vector.expect));
});

test.each(vectors)("%s means to --env-file what docker makes of it", (_, vector, content) => {
  const path = fileOf(content);
  const environment = { CLAIMCHECK_VECTOR: "of this process" };
  const read = () => {
    const command = new Command().exitOverride();
    const toStep = addStepFlags(command, environment);
    command.parse(["--env-file", path], { from: "user" });
    return [...toStep([], { network: "none" }).env] as [string, string][];
  };
  expect(outcomeOf(path, read)).toEqual(expected(vector.expect_flag));
});

test("a file that is larger than a file of variables is refused", () => {
  const path = fileOf(Buffer.alloc(envFileLimit + 1, "#"));
  expect(() => envFile(path)).toThrow(`${path} has more than 1048576 bytes`);
  expect(() => readDockerEnvFile("/dev/zero")).toThrow(Failure);
  expect(() => readDockerEnvFile(join(folder, "nowhere"))).toThrow(Failure);
});

test.each([
  `A=x${" ".repeat(900_000)}y`,
  `A="${"\\\\".repeat(450_000)}"`,
  "\n".repeat(1_000_000),
  "A=\n".repeat(300_000),
])("a large file takes no more than linear time: %#", (text) => {
  expect(envFile(fileOf(Buffer.from(text))).length).toBeLessThanOrEqual(1);
});
