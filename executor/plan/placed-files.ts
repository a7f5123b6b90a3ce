/** Files that come with a plan's document and are put among a container's own before its command runs. */
import * as z from "zod/mini";
import { Failure } from "../../shared/failure.ts";
import { type ReadField, readOrThrow } from "./faults.ts";
import { named, parseMode, writeMode } from "./quantities.ts";

export interface PlacedFile {
  /** The path in the container. What is there of this name is replaced, but for a folder. */
  readonly path: string;
  readonly mode: number;
  /** Docker's `user[:group]`, as the container's own files know them. */
  readonly owner: string;
  /** Of a file; a folder has neither this nor `link`. */
  readonly content?: Uint8Array;
  /** Where a symbolic link points, be there something or not. */
  readonly link?: string;
}

/** All contents of a step together, in bytes; what is larger is mounted, or belongs into the image. */
const sizeLimit = 16 * 1024 * 1024;

const field = (description: string) => z.string().check(z.minLength(1), z.describe(description));

export const PlacedFileFields = () =>
  z.strictObject({
    path: field("The path in the container. Missing folders are created."),
    content: z.optional(z.string().check(z.describe("A file's bytes, in base64."))),
    link: z.optional(
      field("Instead of the content: where a symbolic link points. Without either it is a folder."),
    ),
    mode: z.optional(field("Permissions, as text in octal; 0644 by default, 0755 of a folder.")),
    owner: z.optional(field("USER[:GROUP], by name or number; root by default.")),
  });

/** @throws {Failure} `usage` for what cannot be put anywhere, unless `read` collects the faults. */
export function toPlacedFiles(
  files: readonly z.infer<ReturnType<typeof PlacedFileFields>>[],
  read: ReadField = readOrThrow,
): PlacedFile[] {
  const placed = files.map(({ path, content, link, mode, owner = "0:0" }, index): PlacedFile => {
    const bytes = read(["files", index], () => bytesOf(path, content, link), undefined);
    const usual = bytes ? 0o644 : 0o755;
    return {
      path,
      owner,
      mode:
        mode === undefined
          ? usual
          : read(["files", index, "mode"], () => named("mode", parseMode)(mode), usual),
      ...(bytes && { content: bytes }),
      ...(link !== undefined && { link }),
    };
  });
  read(["files"], () => checkSize(placed), undefined);
  return placed;
}

function bytesOf(path: string, content: string | undefined, link: string | undefined) {
  const refuse = (detail: string) => new Failure("usage", { detail: `the file ${path} ${detail}` });
  if (content !== undefined && link !== undefined)
    throw refuse("is either a content or a link; remove one of the two");
  const bytes = content === undefined ? undefined : Buffer.from(content, "base64");
  if (bytes && bytes.toString("base64") !== content) throw refuse("is not in base64");
  return bytes;
}

function checkSize(placed: readonly PlacedFile[]): void {
  const size = placed.reduce((sum, { content }) => sum + (content?.length ?? 0), 0);
  if (size > sizeLimit) {
    throw new Failure("usage", {
      detail: `the files of a step have ${size} bytes; at most ${sizeLimit} go with a plan`,
    });
  }
}

/** The other way. */
export const writePlacedFile = ({ content, link, mode, ...rest }: PlacedFile) => ({
  ...rest,
  ...(content && { content: Buffer.from(content).toString("base64") }),
  ...(link !== undefined && { link }),
  mode: writeMode(mode),
});
