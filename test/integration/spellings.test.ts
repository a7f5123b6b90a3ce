/** An attacker who may have everything but one secret, and asks for that one in other words. */
import { describe, expect, test } from "vitest";
import { awsPsProvider } from "../../broker/providers/aws-ps.ts";
import { awsSmProvider } from "../../broker/providers/aws-sm.ts";
import { cmdProvider } from "../../broker/providers/cmd.ts";
import { fileProvider } from "../../broker/providers/file.ts";
import { opProvider } from "../../broker/providers/op.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { vaultProvider } from "../../broker/providers/vault.ts";
import { Secret } from "../../shared/secret.ts";
import { allow, deny, startBroker } from "../support/broker.ts";

const [vault, item, other] = ["a", "b", "c"].map((letter) => letter.repeat(26));
const folder = "/srv/secrets";

/** The real grammars; a read gives the canonical URI, and is written down. */
function recording(asked: string[]): Provider[] {
  const providers = [
    fileProvider({ roots: "everywhere", home: "/srv", workingDirectory: folder }),
    cmdProvider({ commands: "any", environment: {}, workingDirectory: "/" }),
    opProvider({ token: undefined, version: "0.0.0" }),
    vaultProvider({ server: { missing: "none" } }),
    awsSmProvider({ server: { region: "eu-west-1", logIn: { method: "machine" } } }),
    awsPsProvider({ server: { region: "eu-west-1", logIn: { method: "machine" } } }),
  ] as unknown as Provider[];
  return providers.map((provider) => ({
    ...provider,
    read: async (references) =>
      references.map(({ canonical }) => {
        asked.push(canonical);
        return new Secret(Buffer.from(canonical));
      }),
  }));
}

async function attack(denied: string, uri: string) {
  const asked: string[] = [];
  const others = ["file://**", "op://**", "vault://**", "aws+sm://**", "aws+ps://**"];
  const broker = await startBroker({
    providers: recording(asked),
    rules: [allow(others), { ...allow([]), secrets: [{ exact: "cmd://deploy" }] }, deny([denied])],
  });
  const { accessToken } = await broker.executor();
  const authorization = { authorization: `Bearer ${accessToken}` };
  const answer = await broker.send("POST", "/v1/handles", { secrets: [{ uri }] }, authorization);
  return { asked, code: ((await answer.json()) as { code?: string }).code };
}

describe("is refused, and nobody is asked:", () => {
  const app = "vault://team/secret/app#password";
  const path = `file://${folder}/token`;
  const database = "aws+sm://prod/db";
  const parameter = "aws+ps:///prod/db";
  const pinned = `op://${vault}/${item}/**`;

  test.each([
    [app, app],
    [app, "vault://team/secret/app.password"],
    [app, "vault://secret/app#password?namespace=team"],
    [app, "vault://secret/app.password?namespace=team"],
    [app, "vault://app#password?namespace=team"],
    [app, `${app}?version=1`],
    ["**/app#password", `${app}?version=1`],
    [app, "vault://secret/app#password?namespace=%74eam"],
    [app, "vault://team/secret/app#password?ttl=0"],
    [app, "vault://team//secret/app#password"],
    [app, "vault:///team/secret/app#password"],
    [app, "vault://team/secret/./app#password"],
    [app, "vault://other/../team/secret/app#password"],
    [app, "vault://other/%2e%2e/team/secret/app#password"],
    [app, "vault://team/secret/%61pp#password"],
    [app, "vault://secret/app#password?namespace=team/"],
    [app, "vault://secret/app#password?namespace=other/../team"],
    ["vault://team/**", "vault://secret/app#password?namespace=team"],
    ["vault://team/secret/app#*", `${app}?version=1`],
    [path, path],
    [path, "file://token"],
    [path, "file://~/secrets/token"],
    [path, "file://./token"],
    [path, `file:///srv/other/../secrets/token`],
    [path, "file:///srv//secrets/token"],
    [path, "file:///srv/secrets/%74oken"],
    [path, `${path}?trim=newline`],
    [pinned, `op://${vault}/${item}/password`],
    [pinned, `op://${vault}/${item}/section/password`],
    [pinned, `OP://${vault}/${item}/password`],
    [pinned, `op://${vault?.toUpperCase()}/${item?.toUpperCase()}/PASSWORD`],
    [pinned, "op://Prod/Database/password"],
    [pinned, `op://${vault}/Database/password?attribute=otp`],
    [pinned, `op://${vault}/${other}/../${item}/password`],
    [database, database],
    [database, `${database}?stage=AWSCURRENT`],
    [database, `${database}?stage=AWSPREVIOUS`],
    [database, `${database}?version=${"0".repeat(36)}`],
    [database, `${database}?region=us-east-1`],
    [database, `${database}?region=eu-west-1&field=password`],
    [database, "aws+sm://prod//db"],
    [database, "aws+sm://prod%2Fdb"],
    [database, "aws+sm://other/../prod/db"],
    [database, "aws+sm://arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"],
    [database, "aws+ps:///aws/reference/secretsmanager/prod/db"],
    [database, "aws+ps://aws/reference/secretsmanager/prod/db"],
    [database, "aws+ps:///AWS/reference/secretsmanager/prod/db"],
    [`${database}?field=password`, database],
    [`${database}?field=password`, `${database}?field=password`],
    [`${database}?field=password`, `${database}?field=pass%77ord`],
    [`${database}?field=password`, `${database}?stage=AWSPREVIOUS`],
    [`${database}?field=password`, `${database}?field=password&region=us-east-1`],
    ["aws+sm://*/db?field=pass*", `${database}?stage=AWSPREVIOUS&field=password`],
    [parameter, parameter],
    [parameter, "aws+ps://prod/db"],
    [parameter, "aws+ps://prod/db?version=1"],
    [parameter, `${parameter}?region=us-east-1`],
    [parameter, "aws+ps:////prod/db"],
    [parameter, "aws+ps:///prod/db:1"],
    [parameter, "aws+ps://arn:aws:ssm:eu-west-1:123456789012:parameter/prod/db"],
    ["**/prod/db", "aws+ps://prod/db?version=1"],
    ["vault://nothing/**", "cmd://deploy "],
    ["vault://nothing/**", "cmd://deploy?ttl=0"],
    ["vault://nothing/**", "cmd://DEPLOY"],
    ["vault://nothing/**", "cmd://deploy;id"],
  ])("%s, by %s", async (denied, uri) => {
    const { asked, code } = await attack(denied, uri);
    expect(asked).toEqual([]);
    expect(code).toMatch(/^(forbidden|invalid_uri)$/);
  });
});

test("what is not denied is read", async () => {
  const near = "vault://team/secret/apple#password";
  expect((await attack("vault://team/secret/app#*", near)).asked).toEqual([near]);
  expect((await attack(`op://${vault}/${item}/**`, `op://${vault}/${other}/x`)).asked).toHaveLength(1);
  const user = "aws+sm://prod/db?field=user";
  expect((await attack("aws+sm://prod/db?field=password", user)).asked).toEqual([user]);
  expect((await attack("vault://nothing/**", "cmd://deploy")).asked).toEqual(["cmd://deploy"]);
});
