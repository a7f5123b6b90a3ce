/** Where an executor listens: a unix socket whose permissions say who may ask, or a port of loopback. */
import { chmodSync, chownSync, lstatSync, unlinkSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { Failure } from "../../shared/failure.ts";
import type { Listening } from "./config.ts";

/** @returns what clients are told. */
export async function listenOn(server: Server, listen: Listening): Promise<string> {
  if ("address" in listen) {
    const { host, port } = listen.address;
    await bind(server, { host, port });
    return `${host}:${port}`;
  }
  const { socket, mode, gid } = listen;
  await removeAbandoned(socket);
  // Nobody is to find it open before it is whose it is to be.
  const umask = process.umask(0o177);
  try {
    await bind(server, { path: socket });
  } finally {
    process.umask(umask);
  }
  chownSync(socket, 0, gid);
  chmodSync(socket, mode);
  return socket;
}

function bind(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const place = "path" in where ? where.path : `${where.host}:${where.port}`;
      reject(new Failure("state_unusable", { detail: `${place}: ${cause.code}`, cause }));
    });
    server.listen(where, resolve);
  });
}

/** What a process that was killed left: a socket at which nobody answers. Nothing else is ever removed. */
async function removeAbandoned(socket: string): Promise<void> {
  const there = lstatSync(socket, { throwIfNoEntry: false });
  if (!there) return;
  if (!there.isSocket()) {
    throw new Failure("state_unusable", {
      detail: `listen.socket: ${socket} exists and is not a socket; remove it, or name another path`,
    });
  }
  const code = await new Promise<string | undefined>((resolve) => {
    const probe = connect(socket, () => {
      probe.destroy();
      resolve(undefined);
    });
    probe.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  if (code === "ECONNREFUSED") unlinkSync(socket);
}
