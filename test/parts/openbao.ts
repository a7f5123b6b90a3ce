/**
 * A real OpenBao server in memory, which setup.sh installs; or the server at VAULT_ADDR, with a VAULT_TOKEN that may do
 * everything, where what a test makes is taken away again. In front of it a proxy, which keeps a log and breaks on
 * demand.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { request as tlsRequest } from "node:https";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.ts";

const installed = fileURLToPath(new URL("../../.tools/openbao/bin/bao", import.meta.url));

export type Bao = Awaited<ReturnType<typeof startBao>>;

/** What is made below these, by its path, is taken away by its path. */
const removable = /^sys\/(mounts|auth|policies\/acl|namespaces)\//;

/** @param more further arguments, such as `-config=FILE`; with them a server is started here in any case. */
export async function startBao(more: readonly string[] = []) {
  const { VAULT_ADDR, VAULT_TOKEN } = more.length === 0 ? process.env : {};
  const server = VAULT_ADDR ? named(VAULT_ADDR, VAULT_TOKEN) : await launch(more);
  const { address, token } = server;
  const made: { path: string; headers: Record<string, string> }[] = [];

  async function call(method: string, path: string, body?: object, headers: Record<string, string> = {}) {
    const answer = await fetch(`${address}/v1/${path}`, {
      method,
      headers: { "X-Vault-Token": token, "X-Vault-Request": "true", ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    if (method !== "DELETE" && removable.test(path)) made.unshift({ path, headers });
    return text === "" ? undefined : JSON.parse(text);
  }

  return {
    address,
    token,
    call,
    signal: server.signal,
    async close(): Promise<void> {
      if (VAULT_ADDR) for (const { path, headers } of made) await call("DELETE", path, undefined, headers);
      await server.close();
    },
    /** A mount that no other run has. */
    async mount(path: string, version: 1 | 2, headers?: Record<string, string>): Promise<string> {
      const full = `${path}-${randomBytes(4).toString("hex")}`;
      const encoded = full.split("/").map(encodeURIComponent).join("/");
      await call(
        "POST",
        `sys/mounts/${encoded}`,
        { type: "kv", options: { version: `${version}` } },
        headers,
      );
      return full;
    },
  };
}

function named(address: string, token: string | undefined) {
  if (!token)
    throw new Error("VAULT_ADDR names a server; set VAULT_TOKEN to a token that may do everything there");
  return { address: address.replace(/\/+$/, ""), token, close: async () => {}, signal: notOurs };
}

function notOurs(_name: NodeJS.Signals): void {
  throw new Error("a server that VAULT_ADDR names gets no signals: unset it for this");
}

async function launch(more: readonly string[]) {
  const program = existsSync(installed) ? installed : "bao";
  const port = await freePort();
  const token = randomBytes(16).toString("hex");
  const child = spawn(
    program,
    ["server", "-dev", `-dev-listen-address=127.0.0.1:${port}`, "-dev-no-store-token", ...more],
    { env: { PATH: process.env.PATH, BAO_DEV_ROOT_TOKEN_ID: token }, stdio: ["ignore", "pipe", "ignore"] },
  );
  process.once("exit", () => child.kill("SIGKILL"));
  await new Promise<void>((resolve, reject) => {
    child.once("error", () =>
      reject(new Error("there is no OpenBao; run the tests by 'npm test', or install 'bao'")),
    );
    child.once("exit", () => reject(new Error("OpenBao ended before it was ready")));
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.includes("Development mode should NOT")) resolve();
    });
  });
  const close = async () => {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  };
  const signal = (name: NodeJS.Signals) => void child.kill(name);
  return { address: `http://127.0.0.1:${port}`, token, close, signal };
}

export interface Logged {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Answers a request in the server's place, or lets it pass by returning false. */
export type Fault = (logged: Logged, response: ServerResponse) => boolean;

export type FaultProxy = Awaited<ReturnType<typeof startProxy>>;

/**
 * What stands between a client and a server: everything passes, and is logged, unless there is a fault.
 *
 * @param distance how long a request is under way, in milliseconds; for measuring.
 */
export async function startProxy(target: string, distance = 0) {
  const requests: Logged[] = [];
  let fault: Fault = () => false;

  const server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method = "", url = "", headers } = incoming;
    const logged = { method, path: url, headers, body: Buffer.concat(chunks).toString() };
    requests.push(logged);
    if (distance > 0) await new Promise((resolve) => setTimeout(resolve, distance));
    if (fault(logged, response)) return;
    // The path goes on as it came: no URL parser in between.
    const { protocol, host, pathname } = new URL(target);
    const send = protocol === "https:" ? tlsRequest : request;
    const path = `${pathname.replace(/\/$/, "")}${url}`;
    const forwarded = send(target, { method, path, headers: { ...headers, host } }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    forwarded.on("error", () => response.destroy());
    forwarded.end(logged.body);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    /** Method and path of all requests since the last look. */
    takeLog: () => requests.splice(0).map(({ method, path }) => `${method} ${path}`),
    breakWith(next: Fault): void {
      fault = next;
    },
    mend(): void {
      fault = () => false;
    },
    async close(): Promise<void> {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** A fault that answers with a status. */
export function answering(
  status: number,
  headers: Record<string, string> = {},
  body: unknown = { errors: [] },
): Fault {
  return (_, response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
    return true;
  };
}

/** A fault for some requests only. */
export const whereas = (concerns: (logged: Logged) => boolean, fault: Fault): Fault => {
  return (logged, response) => concerns(logged) && fault(logged, response);
};
