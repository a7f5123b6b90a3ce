/** The bodies of the broker's HTTP interface. openapi.yaml says the same, and a test holds the two together. */
import * as z from "zod/mini";
import { actions, roleNames } from "./actions.ts";
import { errorCodes } from "./errors.ts";
import { record } from "./record.ts";
import { sourceName } from "./source-name.ts";

const thumbprint = z.string().check(z.regex(/^[A-Za-z0-9_-]{43}$/));
const compact = z.string().check(z.regex(/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)+$/), z.maxLength(8192));
/** Half a character is no text to Redis, and a NUL none to PostgreSQL: both would come back as something else. */
const plain = z.refine<string>((text) => text.isWellFormed() && !/\p{Cc}/u.test(text));
const label = z.string().check(z.maxLength(256), plain);

/** The largest request body that the broker reads, in bytes. */
export const bodyLimit = 1024 * 1024;

/** What a handle is to be like, wherever its value comes from. */
const terms = {
  name: z.optional(label),
  cacheKey: z.optional(label),
  ttl: z.optional(z.int().check(z.positive())),
  uses: z.optional(z.int().check(z.positive(), z.maximum(1_000_000))),
  audience: z.optional(label),
  jkt: z.optional(thumbprint),
  plan: z.optional(label),
};

const IssueItem = z.strictObject({
  // A command may well have a line break in it.
  uri: z.string().check(
    z.minLength(1),
    z.maxLength(8192),
    z.refine((text) => text.isWellFormed()),
  ),
  ...terms,
});

/** A compact JWE; shared/wrapping.ts says what it holds. */
const wrapped = z
  .string()
  .check(z.regex(/^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+$/));

export const IssueRequest = z.strictObject({
  secrets: z.array(IssueItem).check(z.minLength(1), z.maxLength(1000)),
  run: z.optional(label),
  /** By source: the requester's own tokens for sources that log in with them. */
  sourceTokens: z.optional(
    record(z.string().check(z.regex(sourceName)), wrapped.check(z.maxLength(16384))).check(
      z.refine((tokens) => Object.keys(tokens).length <= 16),
    ),
  ),
});

export const IssueResponse = z.strictObject({
  handles: z.array(z.strictObject({ jti: z.string(), handle: compact, expires: z.int() })),
});

const WrapItem = z.strictObject({
  value: wrapped,
  ...terms,
});

export const WrapRequest = z.strictObject({
  secrets: z.array(WrapItem).check(z.minLength(1), z.maxLength(1000)),
  run: z.optional(label),
});

/** The executor's public encryption key, RFC 7517: a curve that ECDH-ES (RFC 7518) can use. */
export const EncryptionKey = z.strictObject({
  kty: z.literal("EC"),
  crv: z.literal("P-256"),
  x: thumbprint,
  y: thumbprint,
});

export const RedemptionRequest = z.strictObject({
  id: z.string().check(z.regex(/^[A-Za-z0-9_-]{16,64}$/)),
  handles: z.array(compact).check(z.minLength(1), z.maxLength(1000)),
  key: EncryptionKey,
  /** Which of the executor's runs the values are for: `check` lets spent handles count within it alone. */
  run: z.optional(label),
  /** False where the executor will not mask the output; the audit log says so. */
  masked: z.optional(z.boolean()),
});

export const RedemptionResponse = z.strictObject({ id: z.string(), payload: z.string() });

export const CheckRequest = z.strictObject({
  /** None asks for the caller's tenant alone. */
  handles: z.array(compact).check(z.maxLength(1000)),
  key: EncryptionKey,
  run: z.optional(label),
});

export const CheckResponse = z.strictObject({ confirmation: z.string() });

export const ReceiptRequest = z.strictObject({
  /** All that the result was made with. */
  handles: z.array(compact).check(z.maxLength(1000)),
  run: z.optional(label),
  key: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
  manifest: z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/)),
});

export const ReceiptResponse = z.strictObject({ receipt: z.string() });

export const HandleStatus = z.strictObject({
  jti: z.string(),
  subject: z.string(),
  run: z.optional(z.string()),
  uses: z.int(),
  left: z.int(),
  expires: z.int(),
});

export const RevocationRequest = z.union([
  z.strictObject({ jti: z.string().check(z.maxLength(64)) }),
  z.strictObject({ subject: z.string().check(z.maxLength(1024), plain) }),
  z.strictObject({ run: label }),
  z.strictObject({ all: z.literal(true) }),
]);

export const Revoked = z.strictObject({ status: z.literal("revoked") });

/** Patterns over text: `*` and `**` are wildcards, an exact one is taken as it stands. */
const patterns = z.array(z.union([z.string(), z.strictObject({ exact: z.string() })]));

/** How the broker knows its caller, and the rules of the policy that are about it. */
export const WhoAmI = z.strictObject({
  tenant: z.string(),
  principal: z.string(),
  roles: z.array(z.enum(roleNames)),
  proven: z.boolean(),
  rules: z.array(
    z.strictObject({
      name: z.string(),
      effect: z.enum(["allow", "deny"]),
      actions: z.array(z.enum(actions)),
      secrets: z.optional(patterns),
    }),
  ),
  more: z.boolean(),
});

/** The signed heads of the broker's audit log, one for each place that it is kept in; shared/audit-head.ts says more. */
export const AuditHeads = z.strictObject({ heads: z.array(compact) });

const SignatureKey = z.strictObject({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: thumbprint,
  kid: thumbprint,
  alg: z.literal("EdDSA"),
  use: z.literal("sig"),
});

/** What the heads of the audit log are signed with. */
const AuditKey = z.strictObject({ ...SignatureKey.shape, use: z.literal("audit") });

/** What values are wrapped to. */
const WrappingKey = z.strictObject({
  kty: z.literal("EC"),
  crv: z.literal("P-256"),
  x: thumbprint,
  y: thumbprint,
  kid: thumbprint,
  alg: z.literal("ECDH-ES"),
  use: z.literal("enc"),
});

export const Jwks = z.strictObject({
  keys: z.array(z.discriminatedUnion("use", [SignatureKey, WrappingKey, AuditKey])),
});

/** openapi.yaml as JSON. */
export const Contract = z.looseObject({ openapi: z.string() });

export const Health = z.strictObject({ status: z.literal("ok") });

/** A broker that serves, and what about it is not as it should be. */
export const Readiness = z.strictObject({
  status: z.enum(["ready", "degraded"]),
  complaints: z.array(z.strictObject({ part: z.string(), message: z.string() })),
});

const code = z.enum(errorCodes);

/** RFC 9457 problem details; `failures` lists what failed in a batch. */
export const Problem = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code,
  detail: z.optional(z.string()),
  failures: z.optional(
    z.array(z.strictObject({ index: z.int(), code, message: z.string(), detail: z.optional(z.string()) })),
  ),
});

export type IssueRequest = z.infer<typeof IssueRequest>;
export type IssueItem = z.infer<typeof IssueItem>;
/** What issuing and wrapping ask for alike. */
export type HandleTerms = Omit<IssueItem, "uri">;
export type WrapRequest = z.infer<typeof WrapRequest>;
export type WrapItem = z.infer<typeof WrapItem>;
export type CheckRequest = z.infer<typeof CheckRequest>;
export type CheckResponse = z.infer<typeof CheckResponse>;
export type ReceiptRequest = z.infer<typeof ReceiptRequest>;
export type ReceiptResponse = z.infer<typeof ReceiptResponse>;
export type HandleStatus = z.infer<typeof HandleStatus>;
export type RevocationRequest = z.infer<typeof RevocationRequest>;
export type WhoAmI = z.infer<typeof WhoAmI>;
export type Revoked = z.infer<typeof Revoked>;
export type IssueResponse = z.infer<typeof IssueResponse>;
export type EncryptionKey = z.infer<typeof EncryptionKey>;
export type RedemptionRequest = z.infer<typeof RedemptionRequest>;
export type RedemptionResponse = z.infer<typeof RedemptionResponse>;
export type Contract = z.infer<typeof Contract>;
export type Readiness = z.infer<typeof Readiness>;
export type Jwks = z.infer<typeof Jwks>;
export type Problem = z.infer<typeof Problem>;
