/** moto's server, which setup.sh installs: it stands for AWS, with Secrets Manager, Parameter Store, STS and IAM. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.ts";

const program = fileURLToPath(new URL("../../.tools/moto/bin/moto_server", import.meta.url));

export type Moto = Awaited<ReturnType<typeof startMoto>>;

/** What `X-Amz-Target` begins with, and the service's name in signatures. */
const services = { secretsmanager: "secretsmanager", ssm: "AmazonSSM" };

/** @param free so many requests are answered before moto asks for signatures and permissions; by default all of them. */
export async function startMoto({ free = Number.MAX_SAFE_INTEGER }: { free?: number } = {}) {
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const child = spawn(program, ["-H", "127.0.0.1", "-p", `${port}`], {
    env: { PATH: process.env.PATH, INITIAL_NO_AUTH_ACTION_COUNT: `${free}` },
    stdio: ["ignore", "ignore", "pipe"],
  });
  process.once("exit", () => child.kill("SIGKILL"));
  await new Promise<void>((resolve, reject) => {
    child.once("error", () => reject(new Error("there is no moto; run the tests by 'npm test'")));
    child.once("exit", () => reject(new Error("moto ended before it was ready")));
    let output = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.includes("Running on http")) resolve();
    });
  });

  /** As an administrator, in a region. */
  async function call(
    service: keyof typeof services,
    operation: string,
    input: object,
    region = "eu-west-1",
  ): Promise<Record<string, unknown>> {
    const answer = await fetch(address, {
      method: "POST",
      headers: {
        "content-type": "application/x-amz-json-1.1",
        "x-amz-target": `${services[service]}.${operation}`,
        authorization: `AWS4-HMAC-SHA256 Credential=AKIAADMIN/20260101/${region}/${service}/aws4_request, SignedHeaders=host, Signature=none`,
      },
      body: JSON.stringify(input),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${operation}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  return {
    address,
    call,

    /** A secret that no other test has, and its name. */
    async secret(
      name: string,
      content: { SecretString: string } | { SecretBinary: string },
      region?: string,
    ) {
      const full = `${name}-${randomBytes(4).toString("hex")}`;
      const answer = await call("secretsmanager", "CreateSecret", { Name: full, ...content }, region);
      return { name: full, version: answer.VersionId as string };
    },

    /** A parameter that no other test has, and its name. */
    async parameter(name: string, value: string, region?: string): Promise<string> {
      const full = `${name}-${randomBytes(4).toString("hex")}`;
      await call("ssm", "PutParameter", { Name: full, Value: value, Type: "SecureString" }, region);
      return full;
    },

    /** IAM and STS have a protocol of their own: parameters of a form, and XML. */
    async form(service: "iam" | "sts", parameters: Readonly<Record<string, string>>): Promise<string> {
      const answer = await fetch(address, {
        method: "POST",
        headers: {
          authorization: `AWS4-HMAC-SHA256 Credential=AKIAADMIN/20260101/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=none`,
        },
        body: new URLSearchParams({ Version: "2010-05-08", ...parameters }),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${parameters.Action}: ${answer.status} ${text}`);
      return text;
    },

    async close(): Promise<void> {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
  };
}
