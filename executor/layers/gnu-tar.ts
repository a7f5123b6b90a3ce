/**
 * GNU tar, which is in every Debian: it walks a folder that a container made without following a link or opening a
 * FIFO, knows where a file has holes without reading them, and reads and sets extended attributes. Node.js can do none
 * of that.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Writable } from "node:stream";
import { Failure } from "../../shared/failure.ts";

type Environment = Readonly<Record<string, string>>;

const attributes = ["--xattrs", "--xattrs-include=*", "--numeric-owner"];

/** @returns an archive of what is in the folder, which nothing may change meanwhile. Sockets are not in it. */
export async function* pack(folder: string, environment: Environment): AsyncGenerator<Uint8Array> {
  const exact = [
    "--format=pax",
    "--pax-option=delete=atime,delete=ctime",
    "--sort=name",
    "--one-file-system",
  ];
  const holes = ["--sparse", "--hole-detection=seek"];
  const child = spawn("tar", ["--create", ...exact, ...holes, ...attributes, "--directory", folder, "."], {
    stdio: ["ignore", "pipe", "pipe"],
    env: environment,
  });
  const ended = endOf(child);
  try {
    yield* child.stdout;
    await ended;
  } finally {
    child.kill("SIGKILL");
  }
}

/** Makes in the folder what an archive says. */
export async function unpack(
  archive: AsyncIterable<Uint8Array>,
  folder: string,
  environment: Environment,
): Promise<void> {
  const exact = ["--same-owner", "--same-permissions", "--delay-directory-restore"];
  const child = spawn("tar", ["--extract", ...exact, ...attributes, "--directory", folder], {
    stdio: ["pipe", "ignore", "pipe"],
    env: environment,
  });
  const ended = endOf(child);
  const input = child.stdin as Writable;
  // That it stopped reading is told by its end, with the reason.
  input.on("error", () => {});
  try {
    for await (const bytes of archive) {
      if (!input.write(bytes)) await Promise.race([once(input, "drain"), ended]);
    }
    input.end();
    await ended;
  } finally {
    child.kill("SIGKILL");
  }
}

/** Rejects when the program failed. Who stopped it need not look. */
function endOf(child: ChildProcess): Promise<void> {
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-1000);
  });
  const ended = once(child, "close").then(
    ([code]) => {
      if (code !== 0) throw new Failure("state_unusable", { detail: said.trim() || "tar failed" });
    },
    (cause) => {
      throw new Failure("unsupported_host", { detail: "GNU tar cannot be run", cause });
    },
  );
  ended.catch(() => {});
  return ended;
}
