/**
 * Searches what a container wrote for the values that a run knows, in all forms that the scrubber knows: in the content
 * of files, their names, what symbolic links say, and extended attributes. It reads along while a layer is made, so it
 * sees what the layer gets, once.
 */

import type { Entry } from "../layers/tar.ts";
import type { Member, Piece } from "../layers/tar-reader.ts";
import { isOfHost } from "../layers/whiteouts.ts";
import type { Scrubber } from "../scrub/scrubber.ts";
import { createFileSearch, type Finding } from "./file-search.ts";

/** After this many places nothing is searched any more. */
const placeLimit = 10;

/** Of a name in a report, in characters. */
const nameLimit = 200;

export interface LeakGuard {
  /** Passes them on, searched as far as they are read. */
  watch(members: AsyncIterable<Member>): AsyncIterable<Member>;
  /** Searches something else. @param place how a report calls it. */
  search(bytes: Uint8Array, place: string): void;
  /** Where something was found, as a text without any of the values; empty if nothing was. */
  report(): string;
}

/**
 * @param scrubber with the values in it.
 * @param nameOf what people call the value that a hit is about.
 */
export function createLeakGuard(scrubber: Scrubber, nameOf: (value: number) => string): LeakGuard {
  const places: string[] = [];
  // An escape is up to 12 bytes for one.
  const reach = 12 * scrubber.longest;

  /** A place is told once for each secret. */
  function note(value: number, place: string): void {
    const text = `${nameOf(value)} in ${place}`;
    if (!places.includes(text)) places.push(text);
  }

  /** @param from hits that end before are none. */
  function search(bytes: Uint8Array, place: () => string, from = 0): void {
    for (const { value, end } of scrubber.find(bytes)) if (end > from) note(value, place());
  }

  const searchText = (text: string, place: () => string, from?: number) =>
    search(Buffer.from(text, "latin1"), place, from);

  const isDone = () => places.length >= placeLimit;

  /** A file's name, or anything else of the container's that a line shows. */
  function shown(text: string): string {
    const stream = scrubber.stream();
    const clean = Buffer.concat([stream.push(Buffer.from(text, "latin1")), stream.end()]).toString();
    const plain = clean.replace(
      /[\p{C}\p{Zl}\p{Zp}]/gu,
      (sign) => `\\u{${sign.codePointAt(0)?.toString(16)}}`,
    );
    return plain.length > nameLimit ? `…${plain.slice(-nameLimit)}` : plain;
  }

  function searchEntry({ path, kind, target, attributes }: Entry): void {
    const file = () => shown(`/${path}`);
    // What is in the folders' part of it has been told of the folders.
    searchText(`/${path}`, () => `the name of ${file()}`, path.lastIndexOf("/") + 1);
    if (kind === "symlink") searchText(target, () => `the link target of ${file()}`);
    for (const [name, value] of attributes) {
      if (isOfHost(name)) continue;
      const place = () => `the attribute ${shown(name)} of ${file()}`;
      searchText(name, place);
      search(value, place);
    }
  }

  async function* searchContent({ entry, content }: Member): AsyncGenerator<Piece> {
    const search = createFileSearch(scrubber.finder(), reach);
    const told = new Set<number>();
    const noteAll = (findings: readonly Finding[]) => {
      for (const { value, line } of findings) {
        if (!told.has(value)) note(value, `${shown(`/${entry.path}`)}, line ${line}`);
        told.add(value);
      }
    };
    for await (const piece of content) {
      if (!isDone()) noteAll(search.push(piece));
      yield piece;
    }
    if (!isDone()) noteAll(search.end(entry.size));
  }

  return {
    async *watch(members) {
      for await (const member of members) {
        if (!isDone()) searchEntry(member.entry);
        yield { entry: member.entry, content: searchContent(member) };
      }
    },

    search: (bytes, place) => search(bytes, () => place),

    report: () => [...places.slice(0, placeLimit), ...(isDone() ? ["…"] : [])].join("; "),
  };
}
