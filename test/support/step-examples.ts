/** Steps that say something of every field, for tests that hold a table against what it describes. */
import type { FieldsWith } from "../../executor/plan/field.ts";
import { type SecretSource, type Step, secretFileDefaults } from "../../executor/plan/plan.ts";
import type { stepTable } from "../../executor/plan/step-table.ts";

export const token: SecretSource = { uri: "env://TOKEN" };
export const otherToken: SecretSource = { uri: "env://OTHER", cacheKey: "of both" };

export const secretFile = { path: "/run/token", source: token, ...secretFileDefaults };

export const placedFile = { path: "/placed", mode: 0o644, owner: "0:0", content: Buffer.from("content") };

/** Values for every field, none of them what it is without; a field that is not here does not compile. */
export const otherValues: { readonly [Field in keyof Required<Step>]: readonly Step[Field][] } = {
  name: ["test"],
  args: [[], ["make", "all"], ["make all"]],
  entrypoint: [[], ["sh", "-e"], undefined],
  env: [
    [],
    [["A", "2"]],
    [["B", "1"]],
    [["A", null]],
    [
      ["A", "1"],
      ["B", "2"],
    ],
  ],
  user: ["", "nobody"],
  workdir: ["/srv"],
  files: [
    [],
    [{ ...placedFile, path: "/other" }],
    [{ ...placedFile, content: Buffer.from("other") }],
    [{ ...placedFile, content: Buffer.of() }],
    [{ ...placedFile, mode: 0o755 }],
    [{ ...placedFile, owner: "1:1" }],
    [{ path: "/placed", mode: 0o644, owner: "0:0" }],
    [{ path: "/placed", mode: 0o644, owner: "0:0", link: "/content" }],
    [placedFile, { ...placedFile, path: "/other" }],
  ],
  network: ["host"],
  memory: [1 << 26],
  cpus: [1.5],
  pidsLimit: [10],
  timeout: [60],
  readOnly: [true],
  init: [false],
  secretVariables: [
    [],
    [{ name: "OTHER", source: token }],
    [{ name: "TOKEN", source: otherToken }],
    [
      { name: "TOKEN", source: token },
      { name: "B", source: token },
    ],
  ],
  secretFiles: [
    [],
    [{ ...secretFile, path: "/run/other" }],
    [{ ...secretFile, source: otherToken }],
    [{ ...secretFile, mode: 0o440 }],
    [{ ...secretFile, owner: "1:0" }],
  ],
  secretInput: [token],
  binds: [[{ source: "/srv", target: "/srv", readOnly: true }]],
  interactive: [true],
  terminal: [true],
};

/** A flag that is not here does not compile. */
export const spoken: {
  readonly [Name in FieldsWith<typeof stepTable, "flag", object>]: [words: string[], Step[Name]];
} = {
  entrypoint: [["--entrypoint", "sh"], ["sh"]],
  user: [["-u", "nobody"], "nobody"],
  workdir: [["-w", "/srv"], "/srv"],
  network: [["--network", "host"], "host"],
  memory: [["--memory", "64m"], 64 * 1024 ** 2],
  cpus: [["--cpus", "1.5"], 1.5],
  pidsLimit: [["--pids-limit", "10"], 10],
  timeout: [["--timeout", "10m"], 600],
  readOnly: [["--read-only"], true],
  init: [["--no-init"], false],
  interactive: [["-i"], true],
  terminal: [["-t"], true],
};
