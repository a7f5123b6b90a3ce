/**
 * file://PATH, a file of the broker's host.
 *
 *     path     = [ "/" / "~/" ] segment *( "/" segment )     ; "~/" is the home folder; else the working directory
 *     segment  = 1*pchar                                     ; but not "." or ".."
 *     pchar    = any character but "/", "%", "?" and the control characters; no "~" at the start of a path
 *
 * What was opened counts, not what was named: the file is opened first, without waiting, and then the kernel is
 * asked what it is and where it lies. So there is no moment between a check and its use.
 */
import { constants } from "node:fs";
import { type FileHandle, open, readlink, realpath } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import { head } from "../../shared/uri.ts";
import { type Provider, type ReadResult, type SecretReference, sizeLimit } from "./provider.ts";

interface FileReference extends SecretReference {
  readonly path: string;
}

interface Settings {
  /** Folders within which files exist; none of them, none. `"everywhere"` is for a user's own broker. */
  readonly roots: readonly string[] | "everywhere";
  /** What `~/` is, and what a relative path is relative to. */
  readonly home: string;
  readonly workingDirectory: string;
}

/** A FIFO would wait for its writer, and a terminal could become ours. */
const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

export function fileProvider({ roots, home, workingDirectory }: Settings): Provider<FileReference> {
  return {
    scheme: "file",
    parameters: [],
    // Each by itself: a network file system that hangs holds up nothing but its own file.
    batchSize: 1,
    concurrency: 16,

    parse(path) {
      const shown = `file://${head(path)}`;
      const refuse = (detail: string) =>
        new ClaimcheckError("invalid_uri", { detail: `${shown}: ${detail}` });
      const inHome = path.startsWith("~/");
      if (path.startsWith("~") && !inHome) throw refuse("~ stands for your own home folder only, as ~/");
      if (/[%\p{Cc}]/u.test(path) || !path.isWellFormed()) {
        throw refuse('a path has no "%" and no control characters');
      }
      const segments = path.replace(/^~?\//, "").split("/");
      if (segments.some((segment) => segment === "" || segment === "." || segment === "..")) {
        throw refuse('a path names a file, without empty segments, "." and ".."');
      }
      const start = isAbsolute(path) ? "/" : inHome ? home : workingDirectory;
      const absolute = join(start, ...segments);
      return { scheme: "file", canonical: `file://${absolute}`, shown, path: absolute };
    },

    read: (references) => Promise.all(references.map((reference) => readFile(reference, roots))),
  };
}

async function readFile(reference: FileReference, roots: Settings["roots"]): Promise<ReadResult> {
  const { path, shown } = reference;
  const outside = () =>
    new ClaimcheckError("provider_denied", { detail: `${shown} is not in a folder that this broker reads` });
  if (roots !== "everywhere" && !roots.some((root) => isWithin(path, root))) return outside();
  let file: FileHandle | undefined;
  try {
    file = await open(path, flags);
    if (roots !== "everywhere" && !(await liesWithin(file, roots))) return outside();
    const { size, ...kind } = await file.stat().then((stat) => ({ size: stat.size, regular: stat.isFile() }));
    if (!kind.regular)
      return new ClaimcheckError("provider_failed", { detail: `${shown} is no regular file` });
    // What grows meanwhile, or has no size at all as in /proc, is found out by reading.
    return size > sizeLimit ? tooLarge() : await readAll(file);
  } catch (thrown) {
    return failure(shown, (thrown as NodeJS.ErrnoException).code);
  } finally {
    await file?.close();
  }
}

async function readAll(file: FileHandle): Promise<ReadResult> {
  const bytes = new Uint8Array(sizeLimit + 1);
  let length = 0;
  try {
    while (length < bytes.length) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length);
      if (bytesRead === 0) return new Secret(bytes.slice(0, length));
      length += bytesRead;
    }
    return tooLarge();
  } finally {
    bytes.fill(0, 0, length);
  }
}

/** Where the kernel says that an open file lies, whatever links led to it. */
async function liesWithin(file: FileHandle, roots: readonly string[]): Promise<boolean> {
  const real = await readlink(`/proc/self/fd/${file.fd}`);
  const realRoots = await Promise.all(roots.map((root) => realpath(root).catch(() => undefined)));
  return realRoots.some((root) => root !== undefined && isWithin(real, root));
}

const isWithin = (path: string, root: string) => path.startsWith(root.endsWith("/") ? root : `${root}/`);

const tooLarge = () => new ClaimcheckError("secret_too_large", { detail: `the limit is ${sizeLimit} bytes` });

function failure(shown: string, code: string | undefined): ClaimcheckError {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return new ClaimcheckError("secret_not_found", { detail: `${shown} does not exist` });
    case "EACCES":
    case "EPERM":
      return new ClaimcheckError("provider_denied", { detail: `${shown} may not be read by this process` });
    case "ENXIO": // A socket, or a device without a driver.
      return new ClaimcheckError("provider_failed", { detail: `${shown} is no regular file` });
    default:
      return new ClaimcheckError("provider_failed", { detail: `${shown} cannot be read (${code})` });
  }
}
