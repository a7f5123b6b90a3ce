/**
 * op://VAULT/ITEM/FIELD, a field of a 1Password item, read with a service account; by the user's own `op` where there is none.
 *
 *     rest       = name "/" name "/" [ name "/" ] name [ "?" parameter ]     ; vault, item, section, field
 *     name       = 1*( ALPHA / DIGIT / "_" / "." / "-" / " " )               ; title, label or id
 *     parameter  = "attribute=otp" / "attribute=totp" / "ssh-format=openssh"
 *
 * 1Password ignores case, so the canonical form is lower case; but a title and the id behind it stay two
 * spellings, which only 1Password could tell to be one.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import { matches } from "../../shared/glob.ts";
import type { PatternDemands } from "../../shared/pattern-demands.ts";
import { Secret } from "../../shared/secret.ts";
import { head, shownName } from "../../shared/uri.ts";
import { createOpClient, type OpClient, OpFailure } from "./op-client.ts";
import { createOpCommand } from "./op-command.ts";
import { defaultName, signInOrigin } from "./op-token.ts";
import type { WorkerResult } from "./op-worker.ts";
import { type Provider, type Scheme, type SecretReference, SourceFailure } from "./provider.ts";

interface OpSettings {
  readonly token: string | (() => Promise<string>) | undefined;
  /** Where there is no token: the environment of 1Password's own command, which reads instead. */
  readonly command?: Readonly<Record<string, string | undefined>>;
  /** What the operator calls the token. */
  readonly tokenName?: string;
  /** Besides 1Password's own: where a token may lead. */
  readonly signInOrigins?: readonly string[];
  /** Ours, for 1Password's records. */
  readonly version: string;
  /** For one read, in milliseconds. */
  readonly timeLimit?: number;
}

export function opProvider(settings: OpSettings): Provider {
  const { token, tokenName = defaultName, command, signInOrigins = [], version } = settings;
  // Somebody may have to unlock the app.
  const { timeLimit = command && !token ? 120_000 : 30_000 } = settings;
  let client: Promise<OpClient> | undefined;
  const connected = (): Promise<OpClient> => {
    client ??= connect().catch((thrown) => {
      client = undefined;
      throw thrown;
    });
    return client;
  };

  async function connect(): Promise<OpClient> {
    const text = typeof token === "function" ? await token() : token;
    if (!text && command) return createOpCommand(command);
    if (!text) {
      throw new ClaimcheckError("provider_failed", { detail: `${tokenName} is not set` });
    }
    return createOpClient({ token: text, origin: signInOrigin(text, signInOrigins, tokenName), version });
  }

  return {
    scheme: "op",
    parameters: ["attribute", "ssh-format"],
    timeLimit,
    parse,

    async read(references, signal) {
      const opened = await connected();
      try {
        // The SDK takes long for each request, and one call for all of them.
        const results = await opened.resolveAll(
          references.map(({ canonical }) => canonical),
          signal,
        );
        const mixedUp = references.some(({ canonical }, nth) => isOfAnother(canonical, results[nth]));
        return references.map(({ shown }, nth) => {
          const result = results[nth];
          if (!result) return new ClaimcheckError("internal");
          if ("error" in result) return failureOf(result.error, shown);
          if (!mixedUp) return new Secret(result.value);
          result.value.fill(0);
          return failed("provider_failed", "1Password answered with another item than the broker requested");
        });
      } catch (thrown) {
        const failure = thrown instanceof OpFailure ? classify(thrown.message) : thrown;
        if (!(failure instanceof ClaimcheckError)) throw failure;
        return references.map(() => failure);
      }
    },

    isTotpSeed: (value) => seed.equals(value.subarray(0, seed.length)),

    async logIn(signal) {
      const opened = await connected();
      await opened.resolveAll([], signal).catch((thrown: unknown) => {
        throw thrown instanceof OpFailure ? classify(thrown.message) : thrown;
      });
    },

    async close() {
      const opened = await client?.catch(() => undefined);
      await opened?.close();
    },
  };
}

const name = /^[\w.-](?:[\w. -]*[\w.-])?$/;

function parse(path: string, parameters: ReadonlyMap<string, string>): SecretReference {
  const shown = `op://${shownName(path)}`;
  const refuse = (detail: string) =>
    new ClaimcheckError("invalid_uri", { detail: `op://${head(path)}: ${detail}` });
  const parts = path.split("/");
  if (parts.length < 3 || parts.length > 4)
    throw refuse("write VAULT/ITEM/FIELD or VAULT/ITEM/SECTION/FIELD");
  if (!parts.every((part) => name.test(part) && part !== "." && part !== "..")) {
    throw refuse(
      'a name is letters, digits, blanks, "_", "." and "-"; use the id of what is called otherwise',
    );
  }
  const attribute = parameters.get("attribute");
  const format = parameters.get("ssh-format");
  if (attribute !== undefined && attribute !== "otp" && attribute !== "totp") {
    throw refuse('the one value of "attribute" is "otp"');
  }
  if (format !== undefined && format !== "openssh")
    throw refuse('the one value of "ssh-format" is "openssh"');
  if (attribute && format) throw refuse("no field has both a one-time password and an SSH key");
  const query = attribute ? "?attribute=otp" : format ? "?ssh-format=openssh" : "";
  return { scheme: "op", canonical: `op://${path.toLowerCase()}${query}`, shown };
}

const seed = Buffer.from("otpauth://");

/**
 * The SDK pairs the answers of a batch with its questions by their order. What was asked for by id says by its id
 * whether that held.
 */
function isOfAnother(canonical: string, result: WorkerResult | undefined): boolean {
  if (!result || "error" in result) return false;
  const [vault = "", item = ""] = placesOf(canonical);
  return (id.test(vault) && vault !== result.vault) || (id.test(item) && item !== result.item);
}

/** What the SDK says about one reference. */
const absent: Readonly<Record<string, string>> = {
  vaultNotFound: "names no vault that the service account sees",
  itemNotFound: "names no item",
  noMatchingSections: "names no section",
  fieldNotFound: "names no field",
};
const unclear: Readonly<Record<string, string>> = {
  tooManyVaults: "names more than one vault; use an id",
  tooManyItems: "names more than one item; use an id",
  tooManyMatchingFields: "names more than one field; name its section",
  incompatibleTOTPQueryParameterField: "has no one-time password",
  unableToGenerateTotpCode: "has a one-time password that cannot be computed",
  incompatibleSshKeyQueryParameterField: "is not an SSH key",
  sSHKeyMetadataNotFound: "is not an SSH key",
};

function failureOf(type: string, shown: string): ClaimcheckError {
  const missing = Object.hasOwn(absent, type) && absent[type];
  if (missing) return new ClaimcheckError("secret_not_found", { detail: `${shown} ${missing}` });
  // A vault of which the account may not see the items is "other", without a word why.
  const why = Object.hasOwn(unclear, type) ? unclear[type] : `cannot be read (${type})`;
  return new ClaimcheckError("provider_failed", { detail: `${shown} ${why}` });
}

/** How long nobody asks after the account's limit was reached, or its token refused: asking costs of the limit too. */
const restTime = 60_000;

/**
 * The SDK's errors lost their kind on their way through WebAssembly; what is left is the text. None of it is told.
 * The first that fits counts.
 */
const causes: readonly [text: string, failure: () => ClaimcheckError][] = [
  ["rate limit exceeded", () => failed("provider_busy", "1Password's rate limit is reached", restTime)],
  ["not authenticated", () => failed("provider_denied", "1Password does not accept the token", restTime)],
  ["bad credentials", () => failed("provider_denied", "1Password does not accept the token", restTime)],
  ["service account token", () => failed("provider_denied", "the 1Password token is damaged", restTime)],
  [
    "do not have the right permissions",
    () => new ClaimcheckError("provider_denied", { detail: "the service account may not read that" }),
  ],
  ["error sending request", () => failed("provider_unreachable", "1Password")],
  ["status code in response: 50", () => passing("1Password is not available")],
  ["internal server error", () => failed("provider_failed", "1Password failed")],
];

function classify(message: string): ClaimcheckError {
  const [, make] = causes.find(([text]) => message.includes(text)) ?? [];
  return make?.() ?? failed("provider_failed", "1Password's answer is not understood");
}

const failed = (
  code: "provider_busy" | "provider_denied" | "provider_failed" | "provider_unreachable",
  detail: string,
  after?: number,
) => new SourceFailure(code, { detail, after });

const passing = (detail: string) => new SourceFailure("provider_failed", { detail, again: true });

const prefix = "op://";
const id = /^[a-z2-7]{26}$/;
const placesOf = (uri: string) => uri.slice(prefix.length).split("/");
const pinned = /^op:\/\/(?:(?:[a-z2-7]{26}|\*)\/){0,2}\*\*$/;

/**
 * Names alias ids and ignore case, so text that differs can be the same secret. A rule that denies pins ids, and
 * denies names in the pinned places too: any of them may stand for the pinned one.
 */
const patterns: PatternDemands = {
  scheme: "op",
  aliased: true,

  faultOf({ pattern }, effect) {
    const text = typeof pattern === "string" ? pattern : pattern.exact;
    if (effect === "allow" || text === "**" || pinned.test(text)) return undefined;
    return "denies op:// by a name, but the same secret also has an id, which the rule does not match: write ids, op://VAULT-ID/ITEM-ID/** (* for any)";
  },

  denial(pattern) {
    if (!pattern.prefix.startsWith(prefix)) return (uri) => matches(pattern, uri);
    const places = placesOf(typeof pattern.pattern === "string" ? pattern.pattern : pattern.pattern.exact);
    return (uri) => {
      const segments = placesOf(uri);
      return places.every((place, index) => {
        const segment = segments[index];
        if (segment === undefined) return place === "**";
        return place.startsWith("*") || segment === place || !id.test(segment);
      });
    };
  },
};

export const opScheme: Scheme = { name: "op", form: "op://VAULT/ITEM/FIELD", patterns };
