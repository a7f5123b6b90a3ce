/**
 * How a broker logs in to Vault, by broker.yaml alone and against a real OpenBao server: a JWT and a Kubernetes service
 * account that identify the broker, and a client certificate that TLS demands. For Kubernetes stands a small server that
 * answers the one question that OpenBao asks a cluster, a TokenReview, as its API describes it (authentication.k8s.io/v1).
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeCertificate } from "../parts/certificate.ts";
import { freePort } from "../parts/free-port.ts";
import { openIssuer, type TestIssuer } from "../parts/issuer.ts";
import { type Bao, startBao } from "../parts/openbao.ts";
import { claimcheck } from "../support/command.ts";
import { policyOf } from "../support/served.ts";

let ci: TestIssuer;
let cluster: Server;
let server: Bao;
let folder: string;
let tlsAddress: string;
const reviewed: string[] = [];

/** Of the service accounts that tokens name, the one that the cluster knows. */
const account = "system:serviceaccount:claimcheck:broker";

beforeAll(async () => {
  ci = await openIssuer("RS256");
  cluster = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { spec } = JSON.parse(Buffer.concat(chunks).toString());
    reviewed.push(spec.token);
    const { sub } = JSON.parse(Buffer.from(spec.token.split(".")[1], "base64url").toString());
    const user = { username: sub, uid: "1", groups: ["system:serviceaccounts"] };
    response.writeHead(201, { "content-type": "application/json" });
    response.end(
      JSON.stringify({
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        status: sub === account ? { authenticated: true, user } : { authenticated: false },
      }),
    );
  }).listen(0, "127.0.0.1");
  await once(cluster, "listening");

  const [server1, client, stranger] = await Promise.all(
    ["127.0.0.1", "broker", "stranger"].map((name) => makeCertificate(name)),
  );
  folder = mkdtempSync(join(tmpdir(), "claimcheck-test-"));
  const files = {
    "root-key": Buffer.alloc(32, 7),
    "policy.yaml": policyOf(ci.url, `      - { name: a, actions: [issue], secrets: ["vault://**"] }\n`),
    "server.pem": server1!.cert,
    "server-key.pem": server1!.key,
    "client.pem": client!.cert,
    "client-key.pem": client!.key,
    "stranger.pem": stranger!.cert,
    "stranger-key.pem": stranger!.key,
  };
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
  }
  const port = await freePort();
  tlsAddress = `https://127.0.0.1:${port}`;
  const at = (name: string) => join(folder, name);
  writeFileSync(
    at("bao.hcl"),
    `listener "tcp" {
  address = "127.0.0.1:${port}"
  tls_cert_file = "${at("server.pem")}"
  tls_key_file = "${at("server-key.pem")}"
  tls_client_ca_file = "${at("client.pem")}"
  tls_require_and_verify_client_cert = true
}
`,
  );
  server = await startBao([`-config=${at("bao.hcl")}`]);

  await server.call("POST", "sys/auth/jwt", { type: "jwt" });
  await server.call("POST", "auth/jwt/config", { jwks_url: `${ci.url}/keys`, bound_issuer: ci.url });
  await server.call("POST", "auth/jwt/role/claimcheck", {
    role_type: "jwt",
    user_claim: "sub",
    bound_subject: "broker",
    bound_audiences: ["vault"],
    token_policies: ["default"],
  });
  await server.call("POST", "sys/auth/pods", { type: "kubernetes" });
  await server.call("POST", "auth/pods/config", {
    kubernetes_host: `http://127.0.0.1:${(cluster.address() as AddressInfo).port}`,
    disable_local_ca_jwt: true,
    // Demanded, though the cluster here speaks without TLS.
    kubernetes_ca_cert: rootCertificates[0],
    disable_iss_validation: true,
  });
  await server.call("POST", "auth/pods/role/claimcheck", {
    bound_service_account_names: ["broker"],
    bound_service_account_namespaces: ["claimcheck"],
    token_policies: ["default"],
  });
});

afterAll(async () => {
  await server.close();
  cluster.close();
  rmSync(folder, { recursive: true });
  ci.stop();
});

async function check(auth: object, more: object = {}, env: Record<string, string> = {}) {
  const source = { provider: "vault", tenants: ["acme"], address: server.address, auth, ...more };
  writeFileSync(
    join(folder, "broker.yaml"),
    `url: https://broker.example\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: audit.jsonl\nsources: ${JSON.stringify({ one: source })}\n`,
  );
  const { stdout, stderr } = await claimcheck(["broker", "check", join(folder, "broker.yaml")], { env });
  return `${stdout}${stderr}`;
}

test("by a JWT that identifies the broker", async () => {
  const auth = { jwt: { role: "claimcheck", jwt: "env://BROKER_JWT" } };
  const jwt = (claims: object) => ci.sign({ sub: "broker", aud: "vault", ...claims });
  const good = await jwt({});
  expect(await check(auth, {}, { BROKER_JWT: good })).toContain("source one: logged in");
  for (const claims of [{ sub: "another" }, { aud: "another" }, { exp: 1 }]) {
    const said = await check(auth, {}, { BROKER_JWT: await jwt(claims) });
    expect(said).toContain("source one: the Vault server refuses the log-in by jwt [provider_denied]");
    expect(said).not.toContain(good.split(".")[2]);
  }
});

test("by a Kubernetes service account, which the server asks the cluster about", async () => {
  const token = (name: string) =>
    ci.sign({
      iss: "kubernetes/serviceaccount",
      sub: `system:serviceaccount:claimcheck:${name}`,
      "kubernetes.io": { namespace: "claimcheck", serviceaccount: { name, uid: "1" } },
    });
  const file = join(folder, "service-account-token");
  const auth = { kubernetes: { role: "claimcheck", jwt: `file://${file}`, mount: "pods" } };
  const good = await token("broker");
  writeFileSync(file, good);
  expect(await check(auth)).toContain("source one: logged in");
  expect(reviewed).toContain(good);
  writeFileSync(file, await token("another"));
  expect(await check(auth)).toContain(
    "source one: the Vault server refuses the log-in by kubernetes [provider_denied]",
  );
});

test("by a client certificate, without which TLS ends before anybody sends a token", async () => {
  const over = (certificate?: string) =>
    check(
      { token: "env://TOKEN" },
      {
        address: tlsAddress,
        ca: "server.pem",
        ...(certificate && {
          clientCertificate: {
            certificate: `${certificate}.pem`,
            key: `file://${join(folder, `${certificate}-key.pem`)}`,
          },
        }),
      },
      { TOKEN: server.token },
    );
  expect(await over("client")).toContain("source one: logged in");
  for (const said of [await over(), await over("stranger")]) {
    expect(said).toMatch(/source one: the Vault server \(\w+\) \[provider_unreachable\]/);
  }
});
