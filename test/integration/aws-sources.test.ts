/** Sources of AWS, through broker.yaml, the command and HTTP: two accounts of moto, which checks signatures and permissions. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openIssuer, type TestIssuer } from "../parts/issuer.ts";
import { startMoto } from "../parts/moto.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { claimcheck } from "../support/command.ts";

const policyFor = (issuer: string) => `version: 1
issuers:
  ci: { issuer: "${issuer}", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: "acme-*" }, roles: [requester] }
    rules:
      - { name: all, actions: [issue], secrets: ["aws+sm://**", "aws+ps://**"] }
      - { name: barred, effect: deny, actions: [issue], secrets: ["aws+sm://prod/barred", "aws+ps:///prod/barred"] }
  rival:
    principals:
      - { issuer: ci, claims: { sub: "rival-*" }, roles: [requester] }
    rules:
      - { name: all, actions: [issue], secrets: ["aws+sm://**", "aws+ps://**"] }
`;

const json = JSON.stringify;

/** An account with a reader who may read what is called prod, and nothing else. */
async function openAccount(value: string) {
  const moto = await startMoto({ free: 9 });
  const statement = {
    Effect: "Allow",
    Action: ["secretsmanager:GetSecretValue", "ssm:GetParameters"],
    Resource: "*",
  };
  await moto.form("iam", { Action: "CreateUser", UserName: "reader" });
  await moto.form("iam", {
    Action: "PutUserPolicy",
    UserName: "reader",
    PolicyName: "read",
    PolicyDocument: json({ Version: "2012-10-17", Statement: [statement] }),
  });
  const made = await moto.form("iam", { Action: "CreateAccessKey", UserName: "reader" });
  const pick = (name: string) => new RegExp(`<${name}>([^<]+)</${name}>`).exec(made)?.[1] ?? "";
  for (const name of ["prod/db", "prod/barred", "prod/other"]) {
    await moto.call("secretsmanager", "CreateSecret", {
      Name: name,
      SecretString: json({ password: value }),
    });
  }
  for (const Name of ["/prod/db", "/prod/barred", "/prod/other"]) {
    await moto.call("ssm", "PutParameter", { Name, Value: value, Type: "SecureString" });
  }
  return { ...moto, id: pick("AccessKeyId"), secret: pick("SecretAccessKey") };
}

let ci: TestIssuer;
let accounts: Awaited<ReturnType<typeof openAccount>>[];
let broker: BrokerProcess;

const source = (provider: string, nth: number, tenant: string, more: object = {}) => ({
  provider,
  tenants: [tenant],
  region: "eu-west-1",
  endpoint: accounts[nth]?.address,
  auth: { keys: { id: accounts[nth]?.id, secret: `env://AWS_${nth}` } },
  ...more,
});

beforeAll(async () => {
  ci = await openIssuer("ES256");
  accounts = await Promise.all(["of acme", "of rival"].map(openAccount));
  broker = await startBrokerProcess({
    policy: policyFor(ci.url),
    fields: `sources: ${json({
      "acme-secrets": source("aws+sm", 0, "acme"),
      "acme-parameters": source("aws+ps", 0, "acme"),
      "rival-secrets": source("aws+sm", 1, "rival"),
      "rival-parameters": source("aws+ps", 1, "rival"),
    })}\n`,
    env: { AWS_0: accounts[0]!.secret, AWS_1: accounts[1]!.secret },
  });
});

afterAll(async () => {
  await broker.end("SIGKILL");
  await broker.remove();
  await Promise.all(accounts.map((each) => each.close()));
  ci.stop();
});

async function ask(sub: string, ...uris: string[]) {
  const answer = await fetch(`${broker.url}/v1/handles`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${await ci.sign({ sub, aud: broker.url })}`,
      "content-type": "application/json",
    },
    body: json({ secrets: uris.map((uri) => ({ uri })) }),
  });
  const body = (await answer.json()) as {
    code?: string;
    handles?: { jti: string }[];
    failures?: { code: string; detail?: string }[];
  };
  if (!body.handles) return body.failures ?? body;
  return body.handles.map(({ jti }) => {
    const { uri, digest } = records().find((each) => each.jti === jti) as Record<string, string>;
    return { uri, digest };
  });
}

const records = () =>
  readFileSync(broker.auditFile, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, string>);

test("two tenants read each from their own account, with requests that are signed well", async () => {
  const uris = ["aws+sm://prod/db?field=password", "aws+ps://prod/db", "aws+sm://prod/other?field=password"];
  const own = await ask("acme-1", ...uris);
  const other = await ask("rival-1", ...uris);
  expect(own).toMatchObject([
    { uri: "aws+sm://prod/db?field=password&source=acme-secrets" },
    { uri: "aws+ps:///prod/db?source=acme-parameters" },
    { uri: "aws+sm://prod/other?field=password&source=acme-secrets" },
  ]);
  expect(other).toMatchObject([
    { uri: "aws+sm://prod/db?field=password&source=rival-secrets" },
    { uri: "aws+ps:///prod/db?source=rival-parameters" },
    { uri: "aws+sm://prod/other?field=password&source=rival-secrets" },
  ]);
  const digests = (all: typeof own) => (all as { digest: string }[]).map(({ digest }) => digest);
  // Each value is one for its tenant, wherever it was read.
  expect(new Set(digests(own)).size).toBe(1);
  expect(digests(own)[0]).not.toBe(digests(other)[0]);
});

test.each([
  "aws+sm://prod/barred?stage=AWSPREVIOUS",
  "aws+sm://prod/barred?field=password&source=acme-secrets",
  "aws+ps://prod/barred",
  "aws+ps:///prod/barred?version=1",
])("a rule that denies a secret denies %s", async (uri) => {
  expect(await ask("acme-1", uri)).toMatchObject([{ code: "forbidden" }]);
});

test.each(["aws+sm://prod/db?region=us-east-1", "aws+ps:///prod/db?region=us-east-1"])(
  "a region that the source does not have is refused: %s",
  async (uri) => {
    const refused = await ask("acme-1", uri);
    expect(json(refused)).toContain("the source reads in other regions: eu-west-1");
  },
);

describe("claimcheck broker check", () => {
  async function check(entries: object, env: Record<string, string> = {}) {
    const folder = mkdtempSync(join(tmpdir(), "claimcheck-aws-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "root-key"), Buffer.alloc(32, 7), { mode: 0o600 });
    writeFileSync(join(folder, "policy.yaml"), policyFor("https://ci.example"));
    writeFileSync(
      join(folder, "broker.yaml"),
      `url: https://broker.example\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: audit.jsonl\nsources: ${json(entries)}\n`,
    );
    return claimcheck(["broker", "check", join(folder, "broker.yaml")], { env: { HOME: folder, ...env } });
  }

  /** What ECS and EKS have on every machine: an address that gives keys. */
  async function machine(nth: number) {
    const { id, secret } = accounts[nth]!;
    const server = createServer((_, response) => {
      const Expiration = new Date(Date.now() + 3600_000).toISOString();
      response.setHeader("content-type", "application/json");
      response.end(json({ AccessKeyId: id, SecretAccessKey: secret, Token: "", Expiration }));
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
  }

  test("logs in by keys, and says of wrong ones that AWS does not accept them", async () => {
    const entries = {
      good: source("aws+sm", 0, "acme"),
      bad: source("aws+ps", 1, "acme"),
    };
    const { code, stdout } = await check(entries, { AWS_0: accounts[0]!.secret, AWS_1: "sesame" });
    expect(stdout).toBe(
      "source good: logged in\nsource bad: AWS does not accept what the broker signs with (SignatureDoesNotMatch): look at its keys, and at its clock [provider_denied]\n",
    );
    expect(code).not.toBe(0);
  });

  test("logs in with the role of the machine", async () => {
    const entries = { own: source("aws+sm", 0, "acme", { auth: { machine: {} } }) };
    const answer = await check(entries, { AWS_CONTAINER_CREDENTIALS_FULL_URI: await machine(0) });
    expect(answer).toMatchObject({ code: 0, stdout: expect.stringContaining("source own: logged in\n") });
  });

  test("logs in with a profile of the broker's user, also one that a command answers for", async () => {
    const { id, secret } = accounts[0]!;
    const folder = mkdtempSync(join(tmpdir(), "claimcheck-profile-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const config = join(folder, "config");
    writeFileSync(
      config,
      `[profile plain]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n` +
        `[profile asked]\ncredential_process = printf '{"Version":1,"AccessKeyId":"${id}","SecretAccessKey":"${secret}"}'\n`,
    );
    const entries = {
      plain: source("aws+sm", 0, "acme", { auth: { profile: "plain" } }),
      asked: source("aws+ps", 0, "acme", { auth: { profile: "asked" } }),
      none: source("aws+ps", 0, "rival", { auth: { profile: "none" } }),
    };
    const { code, stdout } = await check(entries, { AWS_CONFIG_FILE: config });
    expect(stdout).toBe(
      "source plain: logged in\nsource asked: logged in\nsource none: the broker cannot log in to AWS (CredentialsProviderError): look at this profile in the files of AWS's command line, or log in with `aws sso login` [provider_denied]\n",
    );
    expect(code).not.toBe(0);
  });
});
