/** What is said of the schemes elsewhere is what their files say. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { userProviders } from "../../../../bin/serve-broker/providers.ts";
import { schemes } from "../../../../broker/providers/schemes.ts";

const read = (path: string) => readFileSync(new URL(`../../../../${path}`, import.meta.url), "utf8");
const list = (folder: string) => readdirSync(new URL(`../../../../${folder}`, import.meta.url));
const names = schemes.map(({ name }) => name);

test("every provider's file has a row in the table, by the name of its scheme", () => {
  const files = list("broker/providers").filter((file) =>
    /: Scheme = /.test(read(`broker/providers/${file}`)),
  );
  expect(files.sort()).toEqual(names.map((name) => `${name.replace("+", "-")}.ts`).sort());
});

test("a user's own broker reads them all", () => {
  expect(userProviders({}).map(({ scheme }) => scheme)).toEqual(names);
});

test.each(["sdk/typescript/secret.ts", "sdk/python/src/claimcheck/_secret.py", "sdk/go/secret.go"])(
  "%s lists how their URIs look",
  (path) => {
    const [, said = ""] = /secret by its URI: ([^\n]*)\.\n/.exec(read(path).replaceAll("`", "")) ?? [];
    expect(said.split(", ")).toEqual(schemes.map(({ form }) => form));
  },
);

test.each(schemes)("$form has vectors of its own", ({ name, form }) => {
  expect(form.startsWith(`${name}://`)).toBe(true);
  expect(list("test/vectors/uri").some((file) => file.startsWith(`${name}_`))).toBe(true);
});
