/** The grammar of every scheme, as others would have to implement it. */
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import * as z from "zod/mini";
import type { AwsServer } from "../../../../broker/providers/aws-client.ts";
import { awsPsProvider } from "../../../../broker/providers/aws-ps.ts";
import { awsSmProvider } from "../../../../broker/providers/aws-sm.ts";
import { cmdProvider } from "../../../../broker/providers/cmd.ts";
import { envProvider } from "../../../../broker/providers/env.ts";
import { fileProvider } from "../../../../broker/providers/file.ts";
import { libsecretProvider } from "../../../../broker/providers/libsecret.ts";
import { opProvider } from "../../../../broker/providers/op.ts";
import type { Provider } from "../../../../broker/providers/provider.ts";
import { vaultProvider } from "../../../../broker/providers/vault.ts";
import { createResolver } from "../../../../broker/resolve/resolver.ts";
import { ClaimcheckError } from "../../../../shared/errors.ts";
import { refusalOf } from "../../../support/refusal.ts";

/** `key: value` lines, an empty line, then the URI to the end of the file. */
const Vector = z.discriminatedUnion("expect", [
  z.strictObject({ comment: z.string(), expect: z.literal("success"), canonical: z.string() }),
  z.strictObject({ comment: z.string(), expect: z.enum(["invalid_uri", "unknown_scheme"]) }),
]);

const folder = new URL("../../../vectors/uri/", import.meta.url);

function readVector(name: string) {
  const file = readFileSync(new URL(name, folder), "utf8");
  const end = file.indexOf("\n\n");
  const lines = file.slice(0, end).split("\n");
  const fields = lines.map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]);
  return { ...Vector.parse(Object.fromEntries(fields)), uri: file.slice(end + 2) };
}

const aws: AwsServer = { region: "eu-west-1", logIn: { method: "machine" } };
const providers = [
  envProvider({}),
  fileProvider({ roots: [], home: "/home/ci", workingDirectory: "/srv" }),
  cmdProvider({ commands: [], environment: {}, workingDirectory: "/srv" }),
  opProvider({ token: undefined, version: "0.0.0" }),
  vaultProvider({ server: { missing: "none" } }),
  awsSmProvider({ server: aws }),
  awsPsProvider({ server: aws }),
  libsecretProvider({ address: undefined }),
] as unknown as Provider[];
const resolver = createResolver(providers);
const parse = (uri: string) => resolver.parse("acme", uri);
const vectors = readdirSync(folder).map((name) => [name.replace(".txt", ""), readVector(name)] as const);

describe("the published vector", () => {
  test.each(vectors)("%s", async (_, vector) => {
    if (vector.expect === "success") expect(parse(vector.uri).canonical).toBe(vector.canonical);
    else expect((await refusalOf(() => parse(vector.uri))).code).toBe(vector.expect);
  });

  test.each(providers.map(({ scheme }) => scheme))(
    "exists for what is good and what is bad of %s",
    (scheme) => {
      const expected = vectors
        .filter(([name]) => name.startsWith(`${scheme}_`))
        .map(([, vector]) => vector.expect);
      expect(new Set(expected)).toEqual(new Set(["success", "invalid_uri"]));
    },
  );
});

describe("for every scheme", () => {
  // What the grammars give a meaning, what looks like it, and pieces of good URIs.
  const piece = fc.constantFrom(
    ...[..."/.#?%&=~@:- aZ09é\0\n\u0085\ud83d"],
    "..",
    "%2e",
    "secret/app",
    "field",
    "version=1",
    "namespace=a/b",
    "attribute=otp",
    "ssh-format=openssh",
    "stage=AWSCURRENT",
    "region=eu-west-1",
    "field=a",
    "login",
    "ttl=0",
    "trim=newline",
  );
  const rest = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""));
  const uri = fc
    .tuple(
      fc.constantFrom(...providers.map(({ scheme }) => scheme)),
      fc.oneof(rest, fc.string({ unit: "binary" })),
    )
    .map(([scheme, text]) => `${scheme}://${text}`);

  /** The canonical form, or undefined where there is none; anything thrown but a coded error fails. */
  function canonicalOf(text: string): string | undefined {
    try {
      return parse(text).canonical;
    } catch (error) {
      if (!(error instanceof ClaimcheckError)) throw error;
      expect(["invalid_uri"]).toContain(error.code);
      return undefined;
    }
  }

  test("a canonical form is its own canonical form, and holds nothing that could be read twice", () => {
    fc.assert(
      fc.property(uri, (text) => {
        const canonical = canonicalOf(text);
        if (canonical === undefined) return;
        expect(canonicalOf(canonical)).toBe(canonical);
        const [, scheme, path = ""] = /^([\w+]+):\/\/(.*)$/su.exec(canonical) ?? [];
        if (scheme === "cmd") return;
        // The values of attributes are any text, and encoded.
        expect(scheme === "libsecret" ? path.split("?")[0] : path).not.toMatch(/%|\p{Cc}/u);
        // A field is no path: whatever is in it is a name.
        expect(path.split(scheme === "vault" ? "#" : "?")[0]).not.toMatch(
          /(?:^|\/)\.{1,2}(?:\/|$)|\/(?:\/|$)/,
        );
      }),
      { numRuns: 20_000 },
    );
  });

  test("an error shows at most 3 characters of what was pasted", () => {
    fc.assert(
      fc.property(uri, (text) => {
        try {
          parse(`${text}`);
        } catch (error) {
          const { detail = "" } = error as ClaimcheckError;
          const shown = /^[a-z+]+:\/\/(.*?)(?:…|: )/su.exec(detail)?.[1] ?? "";
          expect([...shown].length).toBeLessThanOrEqual(3);
        }
      }),
      { numRuns: 5_000 },
    );
  });
});
