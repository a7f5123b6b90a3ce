/** Every field that a plan has beside its image and its steps, as step-table.ts has those of a step. */
import * as z from "zod/mini";
import { described } from "../../shared/described.ts";
import { type AnyField, asItIs, type Field, written } from "./field.ts";
import { leakActions, type Plan, type Storage } from "./plan.ts";
import { named } from "./quantities.ts";
import { noSource, referenceTo, SecretReference, sourceOf } from "./references.ts";
import { parseStorageOptions, toStorage } from "./storage.ts";

const word = z.string().check(z.minLength(1));

const LoginFields = () =>
  z.strictObject({
    address: described(word, "The registry's address, such as registry.example:5000."),
    user: described(word, "The user name for the log-in."),
    password: described(SecretReference(), "The secret's URI, { handle: … } or { value: … }."),
  });

const StorageFields = () =>
  z.strictObject({
    size: described(z.string(), "The maximum size, for example 10g."),
    inodes: z.optional(
      described(
        z.number(),
        "The maximum number of files, folders and links; one for each 16k of the size by default.",
      ),
    ),
  });

export const planTable = {
  registries: {
    document: written(
      "registryAuth",
      () => described(z.array(LoginFields()), "The log-ins at registries, for private images."),
      (logins, { read }) =>
        logins.map(({ password, ...rest }, index) => ({
          ...rest,
          password: read(["registryAuth", index, "password"], () => sourceOf(password), noSource),
        })),
      (logins: Plan["registries"]) =>
        logins.map(({ password, ...rest }) => ({ ...rest, password: referenceTo(password) })),
    ),
    flag: "ordered",
    cache: "ignored", // Where the image came from.
    bound: 100,
    permission: "free",
    needsRoot: false,
    frontEnds: true,
  },
  hash: {
    document: undefined, // It is the document's.
    flag: undefined,
    cache: "ignored", // Handles for one plan are refused in another, cached or not.
    bound: "name",
    permission: "free",
    needsRoot: false,
    frontEnds: false,
  },
  masked: {
    document: undefined,
    flag: undefined,
    cache: { forbids: (is) => !is && "its output is not masked" },
    bound: undefined,
    permission: { never: "masked" },
    needsRoot: false,
    frontEnds: false,
  },
  shortSecrets: {
    document: undefined,
    flag: undefined,
    cache: { forbids: (what) => what === "show" && "it may show short secrets" },
    bound: undefined,
    permission: { never: "shortSecrets" },
    needsRoot: false,
    frontEnds: false,
  },
  onLeak: {
    document: asItIs("onLeak", () =>
      described(
        z.enum(leakActions),
        "Search the files that steps leave for values; on a find, fail, keep nothing or only tell.",
      ),
    ),
    flag: {
      flags: "--on-leak <ACTION>",
      description: "search the files that each step leaves for secret values; if one is found, do this",
      isHosts: true,
      choices: leakActions,
    },
    cache: "ignored", // A layer with a leaked value is never kept, with any of the three actions.
    bound: undefined,
    permission: "free",
    needsRoot: true,
    frontEnds: false,
  },
  // An image of the host's could be put in another one's place, or pushed with the host's credentials.
  tag: {
    document: asItIs("tag", () => described(word, "The name on this host of the image that the steps make.")),
    flag: {
      flags: "--tag <NAME>",
      description: "make an image of the final files, with this name",
      isHosts: true,
    },
    cache: "ignored",
    bound: "image",
    permission: { never: "to make an image" },
    needsRoot: true,
    frontEnds: false,
  },
  publish: {
    document: asItIs("publish", () =>
      described(word, "The full name, with the registry's address, that the image is pushed to."),
    ),
    flag: { flags: "--publish <NAME>", description: "push the image to this name's registry", isHosts: true },
    cache: "ignored",
    bound: "image",
    permission: { never: "to make an image" },
    needsRoot: true,
    frontEnds: true,
  },
  storage: {
    document: written(
      "storage",
      () =>
        described(
          StorageFields(),
          "What all steps together may write into their containers' files; a command that writes more gets ENOSPC.",
        ),
      named("storage", toStorage),
      ({ size, ...rest }: Storage) => ({ size: `${size}b`, ...rest }),
    ),
    flag: {
      flags: "--storage-opt <NAME=VALUE>",
      description: "what all steps together may write: size=10g, and inodes=100000 (repeatable)",
      collect: named("--storage-opt", parseStorageOptions),
    },
    cache: "counts",
    bound: undefined,
    permission: "decided",
    needsRoot: true,
    frontEnds: false,
  },
} as const satisfies { readonly [Name in Exclude<keyof Plan, "image" | "steps">]-?: Field<Plan[Name]> };

export type PlanField = keyof typeof planTable;

export const planFields = Object.keys(planTable) as PlanField[];

/** Its row, where any will do. */
export const planRowOf = (field: PlanField): AnyField => planTable[field] as AnyField;
