/** The configuration's JSON Schema: what editors show is what the broker reads. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { fromJSONSchema } from "zod";
import { BrokerFile, brokerSchema } from "../../../../bin/serve-broker/schema.ts";
import { claimcheck } from "../../../support/command.ts";
import { undescribed } from "../../../support/undescribed.ts";

const page = readFileSync(new URL("../../../../docs/broker.md", import.meta.url), "utf8");
const [, example = ""] = /```yaml broker\.yaml\n([\s\S]*?)```/.exec(page) ?? [];

const sources = readFileSync(new URL("../../../../docs/sources.md", import.meta.url), "utf8");
const [, managers = ""] = /```yaml managers\.yaml\n([\s\S]*?)```/.exec(sources) ?? [];

test("every field says what it is", () => {
  expect(undescribed(brokerSchema())).toEqual([]);
});

test("the command prints it", async () => {
  const { code, stdout } = await claimcheck(["broker", "schema"]);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual(brokerSchema());
});

test.each([
  ["the example of docs/broker.md", {}, true],
  ["the managers of docs/sources.md", { sources: parse(managers).sources }, true],
  ["a former field", { env: ["A"] }, false],
  [
    "a source that nobody reads from",
    { sources: { a: { provider: "env", variables: [], tenants: [] } } },
    false,
  ],
  ["all quotas", { quotas: { issue: { principal: 1, tenant: 2 } } }, true],
  ["a field that is not there", { rootkey: "x" }, false],
  ["a value in the file", { redis: "redis://redis.example" }, false],
  ["a quota of nothing", { quotas: { issue: { principal: 0 } } }, false],
  ["two places of a key", { rootKey: { file: "x", env: "X" } }, false],
])("it takes and refuses what the broker does: %s", (_, fields, good) => {
  const file = { ...parse(example), ...fields };
  const read = fromJSONSchema(brokerSchema() as Parameters<typeof fromJSONSchema>[0]);
  expect(read.safeParse(file).success).toBe(good);
  expect(BrokerFile.safeParse(file).success).toBe(good);
});
