/**
 * The Secret Service of freedesktop.org, which gnome-keyring, KWallet and KeePassXC offer on a user's session bus. A
 * session is plain: the bus is a socket that only this user opens.
 */
import type { Bus, Message } from "./dbus-library.ts";
import { SourceFailure } from "./provider.ts";

const destination = "org.freedesktop.secrets";
const root = "/org/freedesktop/secrets";
const of = (name: string) => `org.freedesktop.Secret.${name}`;
const properties = "org.freedesktop.DBus.Properties";
/** In a collection. */
const mostItems = 5_000;

export interface Item {
  readonly path: string;
  readonly label: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export type Keyring = Awaited<ReturnType<typeof openKeyring>>;

/** @param address of the session bus, as in DBUS_SESSION_BUS_ADDRESS. */
export async function openKeyring(address: string, signal: AbortSignal) {
  const { createClient } = await import("./dbus-library.ts");
  const { connect } = process.getBuiltinModule("node:net");
  const stream = connect(socketOf(address));
  const bus = createClient({ stream, authMethods: ["EXTERNAL"] });
  const lost = new Promise<never>((_, reject) => {
    const fail = (thrown: unknown) => reject(unreachable((thrown as NodeJS.ErrnoException)?.code));
    bus.connection.on("error", fail);
    bus.connection.on("end", () => fail(undefined));
    signal.addEventListener("abort", () =>
      reject(new SourceFailure("provider_timeout", { detail: keyring })),
    );
  });
  lost.catch(() => {});
  const call = (path: string, of: string, member: string, signature?: string, body?: unknown[]) =>
    Promise.race([lost, invoke(bus, { destination, path, interface: of, member, signature, body })]);
  const get = async (path: string, name: string, property: string) =>
    inVariant((await call(path, properties, "Get", "ss", [of(name), property]))[0]);

  async function unlock(collection: string): Promise<boolean> {
    const [unlocked, prompt] = (await call(root, of("Service"), "Unlock", "ao", [[collection]])) as [
      string[],
      string,
    ];
    if (unlocked.length > 0) return true;
    const closed = new Promise<boolean>((resolve) => {
      bus.connection.on("message", ({ path, member, body }: Message) => {
        if (path === prompt && member === "Completed") resolve(body?.[0] === false);
      });
    });
    await call(prompt, of("Prompt"), "Prompt", "s", [""]);
    return Promise.race([lost, closed]);
  }

  const close = () => stream.destroy();
  let session: unknown;
  try {
    [, session] = await call(root, of("Service"), "OpenSession", "sv", ["plain", ["s", ""]]);
  } catch (thrown) {
    close();
    throw thrown;
  }

  return {
    close,

    /** The path of a collection by its id, or by what it is an alias of; nothing where there is none. */
    async find(name: string): Promise<string | undefined> {
      const paths = (await get(root, "Service", "Collections")) as string[];
      const found = paths.find((path) => idOf(path) === name);
      if (found !== undefined) return found;
      const [alias] = (await call(root, of("Service"), "ReadAlias", "s", [name])) as [string];
      return alias === "/" ? undefined : alias;
    },

    /** Everything in a collection, once it is unlocked; the user may be asked for the password. */
    async list(collection: string): Promise<readonly Item[] | "locked"> {
      if (!(await unlock(collection))) return "locked";
      const paths = (await get(collection, "Collection", "Items")) as string[];
      if (paths.length > mostItems) {
        throw new SourceFailure("provider_failed", { detail: `${keyring} has more than ${mostItems} items` });
      }
      return Promise.all(
        paths.map(async (path) => {
          const [all] = (await call(path, properties, "GetAll", "s", [of("Item")])) as [[string, unknown][]];
          const facts = new Map(all.map(([name, value]) => [name, inVariant(value)]));
          const attributes = Object.fromEntries((facts.get("Attributes") ?? []) as [string, string][]);
          return { path, label: `${facts.get("Label") ?? ""}`, attributes };
        }),
      );
    },

    /** By path, the values of items. */
    async read(paths: readonly string[]): Promise<ReadonlyMap<string, Buffer>> {
      const [found] = (await call(root, of("Service"), "GetSecrets", "aoo", [paths, session])) as [
        [path: string, secret: [session: string, parameters: Buffer, value: Buffer, type: string]][],
      ];
      return new Map(found.map(([path, [, , value]]) => [path, value]));
    },
  };
}

const keyring = "the keyring of this session";

/** What stands at the end of its path, and does not change. */
export const idOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);

/** The library gives a variant as its type and its values. */
const inVariant = (variant: unknown) => (variant as [unknown, unknown[]])[1][0];

function invoke(bus: Bus, call: Parameters<Bus["invoke"]>[0]): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    bus.invoke(call, (failure, ...values) => {
      if (!failure) return resolve(values);
      const name = `${failure.name ?? ""}`.replace(/^.*\./, "");
      reject(
        name === "ServiceUnknown" || name === "NameHasNoOwner"
          ? new SourceFailure("provider_unreachable", {
              detail:
                "no program offers a keyring on the session bus: start gnome-keyring, KWallet or KeePassXC",
            })
          : new SourceFailure("provider_failed", { detail: `${keyring} fails (${name})` }),
      );
    });
  });
}

const unreachable = (code: string | undefined) =>
  new SourceFailure("provider_unreachable", { detail: `the session bus (${code ?? "no connection"})` });

/** Of `unix:path=…` and `unix:abstract=…`, the first that there is; what is not plain is percent-encoded. */
function socketOf(address: string): string {
  for (const each of address.split(";")) {
    const [, kind, path] = /^unix:(?:[^,]*,)*(path|abstract)=([^,]+)/.exec(each) ?? [];
    if (path !== undefined) return `${kind === "abstract" ? "\0" : ""}${decodeURIComponent(path)}`;
  }
  throw new SourceFailure("provider_failed", {
    detail: "DBUS_SESSION_BUS_ADDRESS names no socket that the broker can open (unix:path=…)",
  });
}
