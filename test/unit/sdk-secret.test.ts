/** A secret of the TypeScript chain is its name, however it is looked at. */
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { container, secret, setSecret } from "../../sdk/typescript/claimcheck.ts";

const set = setSecret("token", "hunter2");

test("it shows its name", () => {
  expect(`${secret("env://A", { cacheKey: "k" })}`).toBe("env://A");
  expect(`${set} ${JSON.stringify({ set })}`).toBe('token {"set":"token"}');
  expect(inspect(set, { depth: 9, showHidden: true })).not.toMatch(/hunter2|68 ?75/);
});

test("it has no plaintext, and says why", () => {
  expect(() => set.plaintext()).toThrow(/only the container sees it/);
});

test("its value is beside the plan and never in it", () => {
  const request = container().from("a").withSecretVariable("A", set).withExec(["b"]).request("sync");
  expect(request.values).toEqual({ token: Buffer.from("hunter2").toString("base64") });
  expect(JSON.stringify(request.plan)).not.toMatch(/hunter2|aHVudGVyMg/);
});

test("one name has one value", () => {
  const twice = container()
    .from("a")
    .withSecretVariable("A", set)
    .withSecretVariable("B", setSecret("token", "x"));
  expect(() => twice.withExec(["b"]).request("sync")).toThrow("two secrets were set with the name token");
});

test("a chain stays as it was", () => {
  const base = container().from("a").withExec(["one"]);
  base.withEnvVariable("A", "1").withExec(["two"]);
  expect(base.request("sync").plan.steps).toHaveLength(1);
});

test("a value that no bytes stand for is refused", () => {
  expect(() => setSecret("token", "a\ud800")).toThrow("the value of token is not Unicode; give its bytes");
});
