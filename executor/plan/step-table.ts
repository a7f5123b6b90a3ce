/**
 * Every field of a step, in the order of the document and of the help: how it is said, and what it means to the cache, to
 * a host's executor and without root. A new field is a new row here; spec.ts makes a container of it.
 */
import { createHash } from "node:crypto";
import * as z from "zod/mini";
import { described } from "../../shared/described.ts";
import { record } from "../../shared/record.ts";
import { type AnyField, asItIs, type Field, type Meaning, written } from "./field.ts";
import { PlacedFileFields, toPlacedFiles, writePlacedFile } from "./placed-files.ts";
import { networks, type SecretSource, type Step, secretFileDefaults } from "./plan.ts";
import {
  named,
  parseCpus,
  parseDuration,
  parseMemory,
  parseMode,
  parsePids,
  writeMode,
} from "./quantities.ts";
import {
  membersTo,
  noSource,
  referenceMembers,
  referenceTo,
  SecretReference,
  sourceOf,
  sourceOfFile,
} from "./references.ts";

const word = z.string().check(z.minLength(1));
/** Of a variable. */
const name = z.string().check(z.regex(/^[^=\0]+$/));
const words = (description: string) => described(z.array(z.string()), description);

const SecretFileFields = () =>
  z.strictObject({
    path: described(word, "The path in the container."),
    ...referenceMembers(),
    // As text, because YAML has two ways to read 0400.
    mode: z.optional(described(z.string(), "Permissions, as text in octal; 0400 by default.")),
    owner: z.optional(described(word, "USER[:GROUP], by name or number; root by default.")),
  });

const VolumeFields = () =>
  z.strictObject({
    source: described(word, "The path on the host; in a plan file, relative to the file's folder."),
    target: described(word, "The path in the container."),
    readOnly: z.optional(described(z.boolean(), "Whether the container can only read it; no by default.")),
  });

/** Their values by what stands for these, and how they are given. */
const secrets: Meaning<readonly { readonly source: SecretSource }[]> = {
  counts: (all, cacheIdOf) => all.map(({ source, ...how }) => ({ ...how, cacheId: cacheIdOf(source) })),
};

export const stepTable = {
  name: {
    document: asItIs("name", () => described(word, "The step's name.")),
    flag: undefined,
    cache: "ignored",
    bound: "name",
    permission: "free",
    needsRoot: false,
    frontEnds: false,
  },
  args: {
    document: written(
      "args",
      () => words("The command and its arguments; the image's own without it."),
      (args) => args,
      (args: Step["args"]) => [...args],
    ),
    flag: "ordered",
    cache: "counts",
    bound: 100_000,
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  entrypoint: {
    document: written(
      "entrypoint",
      () => words("The entrypoint to use instead of the image's; an empty list removes it."),
      (entrypoint) => entrypoint,
      (entrypoint: NonNullable<Step["entrypoint"]>) => [...entrypoint],
    ),
    flag: {
      flags: "--entrypoint <COMMAND>",
      description: "instead of the image's entrypoint and command; empty for none",
      read: (text) => (text === "" ? [] : [text]),
    },
    cache: "counts",
    bound: 100_000,
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  env: {
    document: written(
      "env",
      () =>
        described(record(name, z.nullable(z.string())), "Variables; null removes a variable of the image."),
      (env) => Object.entries(env),
      (env: Step["env"]) => Object.fromEntries(env),
    ),
    flag: "ordered",
    cache: "counts",
    bound: 10_000,
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  secretVariables: {
    document: written(
      "secretEnv",
      () =>
        described(
          record(name, SecretReference()),
          "Secrets as variables: their URIs, with ?cacheKey= if wanted, handles or values.",
        ),
      (all, { read }) =>
        Object.entries(all).map(([name, reference]) => ({
          name,
          source: read(["secretEnv", name], () => sourceOf(reference), noSource),
        })),
      (all: Step["secretVariables"]) =>
        Object.fromEntries(all.map(({ name, source }) => [name, referenceTo(source)])),
    ),
    flag: "ordered",
    cache: secrets,
    bound: 1000,
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  secretFiles: {
    document: written(
      "secretFiles",
      () => described(z.array(SecretFileFields()), "Secrets as files, in memory."),
      (files, { read }) =>
        files.map(({ path, mode, owner, ...reference }, index) => ({
          ...secretFileDefaults,
          path,
          source: read(["secretFiles", index], () => sourceOfFile(path, reference), noSource),
          ...(mode !== undefined && {
            mode: read(
              ["secretFiles", index, "mode"],
              () => named("mode", parseMode)(mode),
              secretFileDefaults.mode,
            ),
          }),
          ...(owner !== undefined && { owner }),
        })),
      (files: Step["secretFiles"]) =>
        files.map(({ path, source, mode, owner }) => ({
          path,
          ...membersTo(source),
          mode: writeMode(mode),
          owner,
        })),
    ),
    flag: "ordered",
    cache: secrets,
    bound: 1000,
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  secretInput: {
    document: written(
      "secretStdin",
      () => described(SecretReference(), "A secret that the command reads from standard input."),
      (reference) => sourceOf(reference),
      referenceTo,
    ),
    flag: "ordered",
    cache: { counts: (source, cacheIdOf) => source && cacheIdOf(source) },
    bound: undefined,
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  user: {
    document: asItIs("user", () => described(word, "USER[:GROUP], by name or number.")),
    flag: { flags: "-u, --user <USER[:GROUP]>", description: "run as this user, by name or number" },
    cache: "counts",
    bound: "name",
    permission: "decided",
    needsRoot: false,
    frontEnds: true,
  },
  workdir: {
    document: asItIs("workdir", () => described(word, "The folder that the command runs in.")),
    flag: { flags: "-w, --workdir <FOLDER>", description: "run in this folder of the container" },
    cache: "counts",
    bound: "path",
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  binds: {
    document: written(
      "volumes",
      () => described(z.array(VolumeFields()), "Files and folders of the host that the container shares."),
      (volumes, { toSource }) =>
        volumes.map(({ source, target, readOnly = false }) => ({
          source: toSource(source),
          target,
          readOnly,
        })),
      (binds: Step["binds"]) => binds.map(({ source, target, readOnly }) => ({ source, target, readOnly })),
    ),
    flag: "ordered",
    cache: { forbids: ({ length }) => length > 0 && "it shares files of this host" },
    bound: 256,
    permission: "decided",
    needsRoot: false,
    frontEnds: true,
  },
  files: {
    document: written(
      "files",
      () =>
        described(
          z.array(PlacedFileFields()),
          "Files, folders and links that are put among the container's own before the command runs, in this order.",
        ),
      (files, { read }) => toPlacedFiles(files, read),
      (files: Step["files"]) => files.map(writePlacedFile),
    ),
    flag: undefined,
    cache: {
      counts: (files) =>
        files.map(({ content, ...how }) => ({
          ...how,
          ...(content && { content: createHash("sha256").update(content).digest("hex") }),
        })),
    },
    bound: 10_000,
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  network: {
    document: asItIs("network", () =>
      described(z.enum(networks), "The network that the container can reach; none by default."),
    ),
    flag: {
      flags: "--network <WHICH>",
      description: "the network that the container can reach",
      choices: networks,
      default: "none",
    },
    cache: "counts",
    bound: undefined,
    permission: "decided",
    needsRoot: ["bridge"],
    frontEnds: true,
  },
  memory: {
    document: written(
      "memory",
      () => described(z.string(), "The memory limit, for example 512m."),
      named("memory", parseMemory),
      (bytes: number) => `${bytes}b`,
    ),
    flag: {
      flags: "--memory <SIZE>",
      description: "the memory limit, such as 512m",
      read: named("--memory", parseMemory),
    },
    cache: "counts",
    bound: undefined,
    permission: "ceiling",
    needsRoot: true,
    frontEnds: false,
  },
  cpus: {
    document: written(
      "cpus",
      () => described(z.number(), "The number of CPUs, for example 1.5."),
      (cpus) => named("cpus", parseCpus)(String(cpus)),
      (cpus: number) => cpus,
    ),
    flag: {
      flags: "--cpus <NUMBER>",
      description: "the CPU limit, such as 1.5",
      read: named("--cpus", parseCpus),
    },
    cache: "counts",
    bound: undefined,
    permission: "ceiling",
    needsRoot: true,
    frontEnds: false,
  },
  pidsLimit: {
    document: written(
      "pidsLimit",
      () => described(z.number(), "The maximum number of processes; 2048 by default."),
      (pids) => named("pidsLimit", parsePids)(String(pids)),
      (pids: number) => pids,
    ),
    flag: {
      flags: "--pids-limit <NUMBER>",
      description: "the maximum number of processes (default: 2048)",
      read: named("--pids-limit", parsePids),
    },
    cache: "counts",
    bound: undefined,
    permission: "ceiling",
    needsRoot: true,
    frontEnds: false,
  },
  timeout: {
    document: written(
      "timeout",
      () => described(z.string(), "The time limit, for example 90s."),
      named("timeout", parseDuration),
      (seconds: number) => `${seconds}s`,
    ),
    flag: {
      flags: "--timeout <TIME>",
      description: "end the command after this long, such as 90s or 10m; exit code 124",
      read: named("--timeout", parseDuration),
    },
    cache: "counts",
    bound: undefined,
    permission: "ceiling",
    needsRoot: false,
    frontEnds: true,
  },
  readOnly: {
    document: asItIs("readOnly", () =>
      described(z.boolean(), "Whether the container can only read its files."),
    ),
    flag: { flags: "--read-only", description: "let the container only read its files" },
    cache: "counts",
    bound: undefined,
    permission: "free",
    needsRoot: false,
    frontEnds: false,
  },
  init: {
    document: asItIs("init", () =>
      described(
        z.boolean(),
        "Whether process 1 is an init that collects orphaned processes; with false, the command is process 1.",
      ),
    ),
    flag: {
      flags: "--no-init",
      description: "run the command as process 1, without an init; systemd and s6 need this",
    },
    cache: "counts",
    bound: undefined,
    permission: "free",
    needsRoot: false,
    frontEnds: false,
  },
  // No document says these two: what they are about sits before another host.
  interactive: {
    document: undefined,
    flag: { flags: "-i, --interactive", description: "let the command read standard input" },
    cache: { forbids: (is) => is && "it reads standard input" },
    bound: undefined,
    permission: { never: "interactive" },
    needsRoot: false,
    frontEnds: false,
  },
  terminal: {
    document: undefined,
    flag: { flags: "-t, --tty", description: "give the command a terminal; with -i, yours" },
    cache: { forbids: (is) => is && "it runs in a terminal" },
    bound: undefined,
    permission: { never: "terminal" },
    needsRoot: false,
    frontEnds: false,
  },
} as const satisfies { readonly [Name in keyof Required<Step>]: Field<Step[Name]> };

export const stepFields = Object.keys(stepTable) as (keyof Step)[];

/** Its row, where any will do. */
export const rowOf = (field: keyof Step): AnyField => stepTable[field] as AnyField;
