/**
 * What a layer takes away of those below, in two languages. Overlayfs (Documentation/filesystems/overlayfs.rst): a
 * character device 0/0 stands where a name is gone, and a folder with trusted.overlay.opaque hides the one below. OCI
 * (image-spec, layer.md, "Whiteouts"): an empty file `.wh.NAME`, and `.wh..wh..opq` in the folder.
 */
import { Failure } from "../../shared/failure.ts";
import type { Entry } from "./tar.ts";

const prefix = ".wh.";
const opaqueMarker = ".wh..wh..opq";
const opaqueAttribute = "trusted.overlay.opaque";

/** What overlayfs notes for itself, and a label that only means something on the host that gave it. In no layer. */
export const isOfHost = (attribute: string) =>
  attribute.startsWith("trusted.overlay.") || attribute === "security.selinux";

const isWhiteout = ({ kind, device }: Entry) =>
  kind === "character" && device.major === 0 && device.minor === 0;

/**
 * @param entry of an overlay's upper folder.
 * @returns the same for a layer's archive.
 * @throws {Failure} `invalid_layer` for a file that a layer would take for a whiteout.
 */
export function toLayer(entry: Entry): Entry[] {
  const [folder, name] = splitPath(entry.path);
  if (name.startsWith(prefix)) {
    throw new Failure("invalid_layer", {
      detail: `a file's name begins with "${prefix}", which means that one is gone`,
    });
  }
  if (isWhiteout(entry)) return [emptyFile(`${folder}${prefix}${name}`, entry)];
  const kept = [...entry.attributes].filter(([attribute]) => !isOfHost(attribute));
  const own = { ...entry, attributes: new Map(kept) };
  const isOpaque = entry.attributes.get(opaqueAttribute)?.toString() === "y";
  return isOpaque ? [own, emptyFile(`${entry.path && `${entry.path}/`}${opaqueMarker}`, entry)] : [own];
}

/**
 * The way back, for one archive.
 *
 * @returns what turns its entries, in their order, into those of a folder that is to lie under an overlay.
 */
export function toLowerFolder(): (entry: Entry) => Entry {
  let folder: Entry | undefined;
  return (entry) => {
    const [parent, name] = splitPath(entry.path);
    if (name === opaqueMarker) {
      if (!folder || (folder.path && `${folder.path}/`) !== parent)
        throw new Error("a marker without its folder");
      // Once more, now with the attribute.
      return { ...folder, attributes: new Map([...folder.attributes, [opaqueAttribute, Buffer.from("y")]]) };
    }
    if (entry.kind === "folder") folder = entry;
    if (!name.startsWith(prefix)) return entry;
    return {
      ...emptyFile(`${parent}${name.slice(prefix.length)}`, entry),
      kind: "character",
    };
  };
}

function emptyFile(path: string, { mtime }: Entry): Entry {
  return {
    ...{ path, kind: "file", mode: 0, uid: 0, gid: 0, mtime, target: "", size: 0 },
    device: { major: 0, minor: 0 },
    attributes: new Map(),
  };
}

/** The folder's name with its slash, and the last name. */
function splitPath(path: string): [folder: string, name: string] {
  const at = path.lastIndexOf("/") + 1;
  return [path.slice(0, at), path.slice(at)];
}
