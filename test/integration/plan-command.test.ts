/** claimcheck plan check: all faults of a plan in one go, each with its line and field. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { claimcheck } from "../support/command.ts";
import { makeFolder } from "../support/served.ts";

const plan = `version: 1
image: alpine:latest
registryAuth:
  - { address: "https://registry.example", user: "a:b", password: "op://vault" }
tag: UPPER CASE
steps:
  - name: first
    agrs: [make]
    memory: lots
    cpus: 0
    timeout: soon
    secretEnv:
      A: vualt://secret/ci#npm
      B: env://NOT-A-NAME
      C: no-scheme
      D: env://A?cacheKey=a&cacheKey=b
      E: env://A?trim=all
      F: vault://secret/ci#npm?source=payments
      G: 7
  - secretFiles:
      - { path: /data/key, uri: "env://A", mode: "999" }
      - { path: /data/key, uri: "cmd://" }
      - { path: run/key }
    volumes:
      - { source: here, target: /data }
    files:
      - { path: /f, content: "???" }
    workdir: work
    user: root
    user: root
  - args: [sh, 5]
    secretStdin: { value: "x", handle: "y" }
onLeak: ignore
`;

test("plan check prints every fault of every kind, with its line and field", async () => {
  const folder = makeFolder({ "plan.yaml": plan });
  const file = join(folder, "plan.yaml");
  const { code, stdout, stderr } = await claimcheck(["plan", "check", file]);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr.replaceAll(`${file}:`, "")).toMatchInlineSnapshot(`
    "4: registryAuth[0].address: the log-in of a registry needs its address, such as registry.example:5000
    4: registryAuth[0].user: the log-in of a registry needs the name of a user, without a colon
    4: registryAuth[0].password: The secret URI is invalid: op://vau…: write VAULT/ITEM/FIELD or VAULT/ITEM/SECTION/FIELD
    5: tag: "UPPER CASE" cannot be an image's name
    8: steps[0].agrs: this field does not exist
    9: steps[0].memory: "lots" is not a size: write a number and its unit, such as 512m
    10: steps[0].cpus: "0" is not a number of CPUs: write a number such as 1.5, and at least 0.01
    11: steps[0].timeout: "soon" is not a time: write a number and its unit, such as 90s or 10m, and at most 24d
    13: steps[0].secretEnv.A: No provider knows this URI scheme: vualt://; known here: env://, file://, cmd://, op://, vault://, aws+sm://, aws+ps://, libsecret://
    14: steps[0].secretEnv.B: The secret URI is invalid: env://NOT…: a variable's name is letters, digits and "_"
    15: steps[0].secretEnv.C: The secret URI is invalid: "no-…" has no "://"; write scheme://…
    16: steps[0].secretEnv.D: "cacheKey" appears twice
    17: steps[0].secretEnv.E: The secret URI is invalid: the one value of "trim" is "newline"
    19: steps[0].secretEnv.G: write a URI, { uri: …, cacheKey: … }, { handle: … } or { value: … }
    21: steps[1].secretFiles[0].mode: "999" is not a mode: write three octal digits, such as 0440
    21: steps[1].secretFiles[0].path: the secret file /data/key would be in /data, a folder of this host; choose a path outside it
    22: steps[1].secretFiles[1].path: the secret file /data/key would be in /data, a folder of this host; choose a path outside it
    22: steps[1].secretFiles[1].path: /data/key appears twice
    22: steps[1].secretFiles[1].uri: The secret URI is invalid: cmd://: a command is text for sh -c
    23: steps[1].secretFiles[2]: the secret file run/key needs one of uri, handle and value
    23: steps[1].secretFiles[2].path: a secret file needs an absolute path without "." and "..", not run/key
    27: steps[1].files[0]: the file /f is not in base64
    28: steps[1].workdir: the folder work is not absolute
    30: "user" appears twice
    31: steps[2].args[1]: Invalid input: expected string, received number
    32: steps[2].secretStdin: write a URI, { uri: …, cacheKey: … }, { handle: … } or { value: … }
    33: onLeak: Invalid option: expected one of "fail"|"no-cache"|"warn"
    "
  `);
});

test("without its faults it is in order", async () => {
  const sound = `version: 1
image: alpine:latest
steps:
  - secretEnv: { A: "vault://secret/ci#npm?version=2&source=payments", B: "cmd://cat '?source=x'" }
    secretFiles: [{ path: /key, uri: "env://A", cacheKey: k }, { path: /other, handle: NAME }]
`;
  const folder = makeFolder({ "plan.yaml": sound });
  const file = join(folder, "plan.yaml");
  expect(await claimcheck(["plan", "check", file])).toEqual({
    code: 0,
    stdout: `${file} is in order: 1 steps\n`,
    stderr: "",
  });
});
