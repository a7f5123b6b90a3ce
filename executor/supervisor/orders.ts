/** What a supervisor is ordered, and the lines that say it; the head of supervisor.pl has the protocol. */
import { relative } from "node:path";

/** A user and a group, by number. */
export interface Numbers {
  readonly uid: number;
  readonly gid: number;
}

/** A folder or file of the host's, mounted into a container. */
export interface Volume {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** No link below this folder is followed on the way to the source. */
  readonly within?: string;
  /**
   * As which user and group of the host's the container's user writes there; "nobody" as none: then it reads what everybody
   * can. Without it as whose the source is.
   */
  readonly owner?: Numbers | "nobody" | undefined;
  /** The container's user. */
  readonly user: Numbers;
}

/** A file of the bundle. It is unlinked when the container has been created. */
export interface BundleFile {
  readonly name: string;
  /** The path in the container. */
  readonly target?: string;
  readonly readOnly?: boolean;
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** As the terminal's programs see it; 0 is "not known". */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export interface Bundle {
  /** An OCI configuration in JSON, with the plaintext in it; it is wiped. */
  readonly configuration: Buffer;
  readonly files: readonly BundleFile[];
  /** As whom the command runs. */
  readonly user: Numbers;
  /** Whether something will be written to the container's standard input. */
  readonly hasInput: boolean;
  /** The size of its terminal, if the configuration asks for one. All of its output is then `stdout`. */
  readonly screen?: (() => TerminalSize) | undefined;
  /** Whether to make the network namespace that the configuration names. */
  readonly isBridged: boolean;
}

/** What is put among the next container's files: a file, a link, or a folder, which has neither content nor target. */
export interface Placed {
  readonly path: string;
  readonly content?: Uint8Array;
  readonly link?: string;
  readonly mode: number;
  readonly owner: { readonly uid: number; readonly gid: number };
}

export function fileOrder({ name, bytes, mode, uid, gid, target, readOnly }: BundleFile): string {
  const where = target === undefined ? "-" : `${encodeURIComponent(target)} ${readOnly ? "ro" : "rw"}`;
  return `file ${bytes.length} ${mode.toString(8)} ${uid} ${gid} ${name} ${where}\n`;
}

export function volumeOrder({ source, target, readOnly, within, owner, user }: Volume): string {
  const around = within ?? source;
  const words = [
    encodeURIComponent(target),
    readOnly ? "ro" : "rw",
    encodeURIComponent(around),
    encodeURIComponent(relative(around, source) || "."),
    owner === undefined ? "-" : owner === "nobody" ? owner : `${owner.uid}:${owner.gid}`,
    user.uid,
    user.gid,
  ];
  return `volume ${words.join(" ")}\n`;
}

/** The line before a file's bytes, among those that follow `place`. */
export function placedLine({ path, content, link, mode, owner }: Placed): [line: string, bytes: Uint8Array] {
  const kind = content ? "file" : link === undefined ? "folder" : "link";
  const bytes = content ?? Buffer.from(link ?? "");
  const words = [kind, encodeURIComponent(path), bytes.length, mode.toString(8), owner.uid, owner.gid];
  return [`${words.join(" ")}\n`, bytes];
}
