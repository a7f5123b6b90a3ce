/**
 * file://PATH, a file of the broker's host.
 *
 *     path     = [ "/" / "~/" ] segment *( "/" segment )     ; "~/" is the home folder; else the working directory
 *     segment  = 1*pchar                                     ; but not "." or ".."
 *     pchar    = any character but "/", "%", "?" and the control characters; no "~" at the start of a path
 *
 * On a broker of others, what a path leads to counts, and not how it is spelled. Before anybody decides, `locate` follows
 * its links to the one real path, which then has to lie under the same root: somebody who may write to one root gets
 * nothing of another by a link. The policy decides on the real path, and the record has it. Then that path alone is
 * opened, following no link at its end, and the kernel is asked what was opened: a file that lies elsewhere by now is
 * refused. A file that has other names too (hard links) is refused where its root does not allow them, because one of
 * these names can lie anywhere.
 */
import { constants } from "node:fs";
import { type FileHandle, open, readlink, realpath } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import { head, shownName } from "../../shared/uri.ts";
import { type Provider, type ReadResult, type Scheme, type SecretReference, sizeLimit } from "./provider.ts";

export const fileScheme: Scheme = { name: "file", form: "file://PATH" };

/** The URI of a file. */
export const fileUri = (path: string) => `file://${path}`;

/** The path of such a URI without parameters; missing for other URIs. */
export const pathIn = (uri: string): string | undefined => /^file:\/\/([^?]+)$/.exec(uri)?.[1];

interface FileReference extends SecretReference {
  readonly path: string;
  /** The real path of the root that it was asked for under; set once it is located. */
  readonly root?: string;
}

/** A folder within which files exist. */
export interface FileRoot {
  readonly folder: string;
  /** Whether its files may have other names, inside and outside of it. */
  readonly hardLinks?: boolean;
}

interface FileSettings {
  /** None of them: no file exists. `"everywhere"` is for a user's own broker. */
  readonly roots: readonly FileRoot[] | "everywhere";
  /** Folders that are never read from, though they lie under a root: those of the broker's own keys. */
  readonly closed?: readonly string[];
  /** What `~/` is, and what a relative path is relative to. */
  readonly home: string;
  readonly workingDirectory: string;
}

/** Where files are not files: they show processes, memory and devices. */
export const kernelFolders = ["/proc", "/sys", "/dev"];

/** A FIFO would wait for its writer, and a terminal could become ours. */
const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** What a path has none of; of a "?" its URI would be read as a parameter. */
const oddCharacters = /[%?\p{Cc}]/u;

export function fileProvider(settings: FileSettings): Provider<FileReference> {
  const { roots, home, workingDirectory } = settings;
  const confined = roots === "everywhere" ? undefined : { ...settings, roots };
  return {
    scheme: "file",
    parameters: [],
    // Each by itself: a network file system that hangs holds up nothing but its own file.
    batchSize: 1,
    concurrency: 16,

    parse(path) {
      const shown = `file://${shownName(path)}`;
      const refuse = (detail: string) =>
        new ClaimcheckError("invalid_uri", { detail: `file://${head(path)}: ${detail}` });
      const inHome = path.startsWith("~/");
      if (path.startsWith("~") && !inHome) throw refuse("~ stands for your own home folder only, as ~/");
      if (oddCharacters.test(path) || !path.isWellFormed()) {
        throw refuse('a path has no "%" and no control characters');
      }
      const segments = path.replace(/^~?\//, "").split("/");
      if (segments.some((segment) => segment === "" || segment === "." || segment === "..")) {
        throw refuse('a path names a file, without empty segments, "." and ".."');
      }
      const start = isAbsolute(path) ? "/" : inHome ? home : workingDirectory;
      return named({ scheme: "file", canonical: "", shown, path: join(start, ...segments) });
    },

    ...(confined && { locate: (reference) => locate(reference, confined) }),

    read: (references) => Promise.all(references.map((reference) => readFile(reference, confined))),
  };
}

type Confined = FileSettings & { readonly roots: readonly FileRoot[] };

const named = (reference: FileReference): FileReference => ({
  ...reference,
  canonical: fileUri(reference.path),
});

/** What leads nowhere, or nowhere good, stays as it was spelled: the policy decides on that, and the read refuses it. */
async function locate(reference: FileReference, { roots }: Confined): Promise<FileReference> {
  const asked = await rootOf(reference.path, roots);
  const path = asked && (await realpath(reference.path).catch(() => undefined));
  if (path === undefined || oddCharacters.test(path) || !path.isWellFormed()) return reference;
  const found = await rootOf(path, roots);
  return found?.real === asked?.real ? named({ ...reference, path, root: found!.real }) : reference;
}

interface RealRoot extends FileRoot {
  readonly real: string;
}

/** The root that a path lies under; the innermost, where one root lies under another. */
async function rootOf(path: string, roots: readonly FileRoot[]): Promise<RealRoot | undefined> {
  const real = await Promise.all(
    roots.map(async (root) => ({ ...root, real: await realpath(root.folder).catch(() => undefined) })),
  );
  const around = real.filter(
    (root): root is RealRoot =>
      root.real !== undefined && (isWithin(path, root.folder) || isWithin(path, root.real)),
  );
  return around.sort((a, b) => b.real.length - a.real.length)[0];
}

async function readFile(reference: FileReference, confined: Confined | undefined): Promise<ReadResult> {
  const { path, shown } = reference;
  const denied = (why: string) => new ClaimcheckError("provider_denied", { detail: `${shown} ${why}` });
  const outside = () => denied("is not in a folder that this broker reads");
  const root = confined && (await rootOf(path, confined.roots));
  if (confined && (!root || reference.root !== root.real)) return outside();
  let file: FileHandle | undefined;
  try {
    file = await open(path, confined ? flags | constants.O_NOFOLLOW : flags);
    // Whatever was exchanged since it was located, this is where it lies.
    if (confined && (await readlink(`/proc/self/fd/${file.fd}`)) !== path) return outside();
    if (confined && (await isClosed(path, confined.closed ?? []))) return outside();
    const stat = await file.stat();
    if (!stat.isFile())
      return new ClaimcheckError("provider_failed", { detail: `${shown} is not a regular file` });
    if (root && !root.hardLinks && stat.nlink > 1)
      return denied("has several names (hard links), which its root in broker.yaml does not allow");
    // What grows meanwhile, or has no size at all as in /proc, is found out by reading.
    return stat.size > sizeLimit ? tooLarge() : await readAll(file, stat.size);
  } catch (thrown) {
    return failure(shown, (thrown as NodeJS.ErrnoException).code);
  } finally {
    await file?.close();
  }
}

async function isClosed(path: string, closed: readonly string[]): Promise<boolean> {
  const real = await Promise.all(closed.map((folder) => realpath(folder).catch(() => folder)));
  return [...kernelFolders, ...closed, ...real].some((folder) => isWithin(path, folder));
}

async function readAll(file: FileHandle, size: number): Promise<ReadResult> {
  // One byte more than it says, or a file that grows would go unnoticed.
  let bytes = new Uint8Array(size + 1);
  let length = 0;
  try {
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length);
      if (bytesRead === 0) return new Secret(bytes.slice(0, length));
      length += bytesRead;
      if (length > sizeLimit) return tooLarge();
      if (length === bytes.length) {
        const larger = new Uint8Array(Math.min(2 * length + 4096, sizeLimit + 1));
        larger.set(bytes);
        bytes.fill(0);
        bytes = larger;
      }
    }
  } finally {
    bytes.fill(0);
  }
}

export const isWithin = (path: string, root: string) =>
  path.startsWith(root.endsWith("/") ? root : `${root}/`);

const tooLarge = () => new ClaimcheckError("secret_too_large", { detail: `the limit is ${sizeLimit} bytes` });

function failure(shown: string, code: string | undefined): ClaimcheckError {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return new ClaimcheckError("secret_not_found", { detail: `${shown} does not exist` });
    case "EACCES":
    case "EPERM":
      return new ClaimcheckError("provider_denied", { detail: `${shown} may not be read by this process` });
    case "ELOOP": // It has become a link since it was located.
      return new ClaimcheckError("provider_denied", {
        detail: `${shown} is not in a folder that this broker reads`,
      });
    case "ENXIO": // A socket, or a device without a driver.
      return new ClaimcheckError("provider_failed", { detail: `${shown} is not a regular file` });
    default:
      return new ClaimcheckError("provider_failed", { detail: `${shown} cannot be read (${code})` });
  }
}
