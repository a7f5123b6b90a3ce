/**
 * What a newer version of this program wrote says so by a number that is larger than the one known here. It is refused by
 * that name, and never called wrong or changed: in a document by `version`, in a statement by `version` in its protected
 * header.
 */

/** The newest version of plans, policies and configuration files. */
const documentVersion = 1;

/** The newest version of handles and other statements; these say none. */
const statementVersion = 1;

const isNewer = (version: unknown, known: number): version is number =>
  typeof version === "number" && Number.isInteger(version) && version > known;

/** @returns what is wrong with the `version` of a document of a newer version; undefined for all others. */
export function newerDocument(content: unknown): string | undefined {
  const { version } = Object(content) as { readonly version?: unknown };
  if (!isNewer(version, documentVersion)) return undefined;
  return `version ${version} of this format is for a newer version of Claimcheck, and this one reads version ${documentVersion}; upgrade Claimcheck`;
}

/** A statement that somebody with the right key has signed, in a form that is not known here. */
export class NewerStatement extends Error {
  override readonly name = "NewerStatement";
}

/** @throws {NewerStatement} */
export function expectKnownStatement(protectedHeader: object): void {
  const { version } = protectedHeader as { readonly version?: unknown };
  if (isNewer(version, statementVersion)) throw new NewerStatement("a newer version made it");
}
