/**
 * libsecret://COLLECTION/ITEM, a secret in the keyring of the user's session: gnome-keyring, KWallet or KeePassXC.
 *
 *     rest       = collection [ "/" item ] [ "?" attribute *( "&" attribute ) ]  ; an item, an attribute, or both
 *     collection = 1*( ALPHA / DIGIT / "_" / "-" )         ; an id such as "login", or an alias such as "default"
 *     item       = segment *( "/" segment )                ; an id, or else a label; not "." or ".."
 *     segment    = 1*( any character but "/", "?", "%" and control characters )
 *     attribute  = name "=" value                          ; all of them have to be the item's
 *
 * An item is found by its id before it is found by its label. What fits more than one item is none of them.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";
import { head, shownName } from "../../shared/uri.ts";
import { type Item, idOf, type Keyring, openKeyring } from "./keyring.ts";
import type { Provider, ReadResult, Scheme, SecretReference } from "./provider.ts";

interface LibsecretReference extends SecretReference {
  readonly collection: string;
  readonly item: string | undefined;
  readonly attributes: readonly (readonly [name: string, value: string])[];
}

interface Settings {
  /** Of the session bus; missing where the user has no session. */
  readonly address: string | undefined;
}

export function libsecretProvider({ address }: Settings): Provider<LibsecretReference> {
  return {
    scheme: "libsecret",
    parameters: [],
    freeParameters: true,
    // Somebody may have to type the password of the keyring.
    timeLimit: 120_000,
    parse,

    async read(references, signal) {
      if (address === undefined) {
        throw new ClaimcheckError("provider_failed", {
          detail: "there is no session bus: DBUS_SESSION_BUS_ADDRESS and XDG_RUNTIME_DIR are not set",
        });
      }
      const keyring = await openKeyring(address, signal);
      try {
        return await readAll(keyring, references);
      } finally {
        keyring.close();
      }
    },
  };
}

async function readAll(keyring: Keyring, references: readonly LibsecretReference[]): Promise<ReadResult[]> {
  const names = [...new Set(references.map(({ collection }) => collection))];
  const listed = new Map<string, readonly Item[] | "locked" | undefined>();
  // One after another: each may ask the user for a password.
  for (const name of names) {
    const path = await keyring.find(name);
    listed.set(name, path === undefined ? undefined : await keyring.list(path));
  }
  const found = references.map((reference) => findItem(listed.get(reference.collection), reference));
  const paths = found.flatMap((each) => (each instanceof ClaimcheckError ? [] : [each.path]));
  const values = paths.length > 0 ? await keyring.read([...new Set(paths)]) : new Map<string, Buffer>();
  return found.map((each, nth) => {
    if (each instanceof ClaimcheckError) return each;
    const value = values.get(each.path);
    if (value) return new Secret(Uint8Array.from(value));
    return failed("provider_denied", references[nth] as LibsecretReference, "is locked, or has no value");
  });
}

function findItem(
  items: readonly Item[] | "locked" | undefined,
  reference: LibsecretReference,
): Item | ClaimcheckError {
  const { item, attributes, collection } = reference;
  if (items === undefined) return failed("secret_not_found", reference, "names no collection of the keyring");
  if (items === "locked") {
    return failed(
      "provider_denied",
      reference,
      `cannot be read: the collection ${collection} is locked; unlock it`,
    );
  }
  const fits = (each: Item) => attributes.every(([name, value]) => each.attributes[name] === value);
  const named = items.filter(({ path }) => item === undefined || idOf(path) === item);
  const candidates = named.length > 0 ? named : items.filter(({ label }) => label === item);
  const [first, ...others] = candidates.filter(fits);
  if (!first) return failed("secret_not_found", reference, "names no item");
  if (others.length === 0) return first;
  return failed("provider_failed", reference, "names more than one item: add attributes, or use an id");
}

const failed = (
  code: "provider_denied" | "provider_failed" | "secret_not_found",
  { shown }: LibsecretReference,
  why: string,
) => new ClaimcheckError(code, { detail: `${shown} ${why}` });

const reserved = ["trim", "ttl"];

function parse(path: string, parameters: ReadonlyMap<string, string>): LibsecretReference {
  const shown = `libsecret://${shownName(path)}`;
  const refuse = (detail: string) =>
    new ClaimcheckError("invalid_uri", { detail: `libsecret://${head(path)}: ${detail}` });
  const at = path.indexOf("/");
  const collection = at < 0 ? path : path.slice(0, at);
  const item = at < 0 ? undefined : path.slice(at + 1);
  const attributes = [...parameters]
    .filter(([name]) => !reserved.includes(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  if (!/^[\w-]+$/.test(collection)) throw refuse("write COLLECTION/ITEM, such as login/NAME");
  if (item === undefined && attributes.length === 0)
    throw refuse("write COLLECTION/ITEM or COLLECTION?NAME=VALUE");
  if (item !== undefined) {
    if (/[%\p{Cc}]/u.test(item) || !item.isWellFormed()) {
      throw refuse(
        'neither "%" nor control characters belong into a label: use the id of the item or its attributes',
      );
    }
    if (item.split("/").some((segment) => segment === "" || segment === "." || segment === "..")) {
      throw refuse('an item has no empty segments, "." and ".."');
    }
  }
  if (
    attributes.some(
      ([name, value]) => !/^[\w:.-]+$/.test(name) || !value.isWellFormed() || value.length > 256,
    )
  ) {
    throw refuse("an attribute is NAME=VALUE, where a name is letters, digits, ':', '_', '.' and '-'");
  }
  const query = attributes.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  return {
    scheme: "libsecret",
    canonical: `libsecret://${path}${query && `?${query}`}`,
    shown,
    collection,
    item,
    attributes,
  };
}

export const libsecretScheme: Scheme = { name: "libsecret", form: "libsecret://COLLECTION/ITEM" };
