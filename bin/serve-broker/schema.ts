/** The file of `claimcheck broker --config FILE`: every field. Paths are relative to the file. */
import * as z from "zod/mini";
import { defaultLimits } from "../../broker/http/server.ts";
import { defaultQuotas } from "../../broker/quota/quota.ts";
import { described } from "../../shared/described.ts";
import { defaultShutdown } from "./listen.ts";
import { SourceEntries } from "./source-schema.ts";

const text = z.string().check(z.minLength(1));
const variable = z.string().check(z.regex(/^[A-Za-z_][A-Za-z0-9_]*$/));
const positive = z.int().check(z.positive());
const nonnegative = z.int().check(z.nonnegative());

/** What is no one else's to read is not in the configuration itself. */
const Source = z.union(
  [
    z.strictObject({ file: described(text, "The file that holds the secret.") }),
    z.strictObject({
      env: described(variable, "The variable of the broker's environment that holds the secret."),
    }),
  ],
  { error: "either { file: PATH } or { env: NAME }" },
);

const counted = (value: number, description: string) => described(z._default(positive, value), description);

/** What a principal, and all principals of a tenant together, may ask for in a minute. */
function quota({ principal, tenant }: { readonly principal: number; readonly tenant: number }, what: string) {
  return described(
    z._default(
      z.strictObject({
        principal: counted(principal, "The quota of each principal."),
        tenant: counted(tenant, "The quota of all principals of a tenant together."),
      }),
      { principal, tenant },
    ),
    `${what}, in a minute.`,
  );
}

export const BrokerFile = described(
  z.strictObject({
    url: described(
      z.url(),
      "The URL by which clients reach the broker, often that of a proxy that ends TLS. It is the issuer of the broker's handles, and has no path.",
    ),
    listen: described(z._default(z.string(), "127.0.0.1:7878"), "HOST:PORT to listen on."),
    metrics: described(
      z.optional(z.string()),
      "HOST:PORT where the broker serves /metrics to Prometheus, over plain HTTP and without a token. Without it there are no metrics.",
    ),
    tls: described(
      z.optional(
        z.strictObject({
          certificate: described(text, "A file with the certificate and its chain, in PEM."),
          key: described(text, "A file with its key, in PEM."),
        }),
      ),
      "The certificate and key for HTTPS; read again on SIGHUP and when the files change.",
    ),
    rootKey: described(
      Source,
      "32 bytes, raw or in base64. The broker derives all its keys from them. All replicas share one root key.",
    ),
    previousRootKey: described(
      z.optional(Source),
      "The previous root key, during a rotation: the broker still accepts what this key signed and sealed.",
    ),
    redis: described(
      z.optional(Source),
      "The URL of the Redis or Valkey that replicas share, redis[s]://[[USER][:PASSWORD]@]HOST[:PORT][/DATABASE]. " +
        "Without Redis the broker keeps handles in memory, and a restart voids them.",
    ),
    policy: described(text, "Issuers, tenants and rules; read again on SIGHUP and when it changes."),
    audit: described(
      z.union(
        [
          text,
          z.strictObject({
            file: described(z.optional(text), "A file."),
            postgres: described(
              z.optional(
                z.strictObject({
                  url: described(Source, "The URL of the database, in libpq's form."),
                  broker: described(
                    z.optional(text),
                    "The broker's name in that database; the host's name by default.",
                  ),
                }),
              ),
              "A PostgreSQL database that replicas share; each replica uses its own name.",
            ),
            stdout: described(
              z.optional(z.boolean()),
              "Whether the broker also writes each record to standard output.",
            ),
          }),
        ],
        { error: "a file, or { file: PATH, postgres: { url: … }, stdout: true }" },
      ),
      "Where the broker writes every decision before it takes effect: a file, PostgreSQL, or both.",
    ),
    sources: described(
      z._default(SourceEntries, {}),
      "The sources that tenants read secrets from, each under a name of your choice. A source's name is part of each canonical URI, as ?source=NAME.",
    ),
    cacheTtl: described(
      z._default(nonnegative, 0),
      "How long the broker reuses a value that it has read, in seconds; a URI's ?ttl= shortens it. With 0 the broker reads the secret each time.",
    ),
    quotas: described(
      z._default(
        z.strictObject({
          issue: quota(defaultQuotas.issue, "secrets to issue handles for"),
          redeem: quota(defaultQuotas.redeem, "handles to redeem or check"),
          manage: quota(defaultQuotas.manage, "handles to inspect or revoke, and reads of the audit log"),
        }),
        defaultQuotas,
      ),
      "Limits on requests.",
    ),
    limits: described(
      z._default(
        z.strictObject({
          headersTimeout: counted(
            defaultLimits.headersTimeout,
            "The time limit for a request's headers, in seconds.",
          ),
          requestTimeout: counted(
            defaultLimits.requestTimeout,
            "The time limit for a whole request, and then for the client to read the answer, in seconds.",
          ),
          connections: counted(
            defaultLimits.connections,
            "The maximum number of connections; the broker closes further ones at once.",
          ),
        }),
        defaultLimits,
      ),
      "Limits on what one client can occupy.",
    ),
    shutdown: described(
      z._default(
        z.strictObject({
          delay: described(
            z._default(nonnegative, defaultShutdown.delay),
            "How long the broker still serves after SIGTERM, in seconds; meanwhile /readyz answers that it is draining.",
          ),
          limit: counted(
            defaultShutdown.limit,
            "How long the broker then waits for open requests, in seconds.",
          ),
        }),
        defaultShutdown,
      ),
      "How it ends.",
    ),
  }),
  "A Claimcheck broker.",
);

export type BrokerFile = z.infer<typeof BrokerFile>;
export type Source = z.infer<typeof Source>;

/** JSON Schema 2020-12, for editors: what may be written, defaults left out. */
export function brokerSchema(): object {
  return z.toJSONSchema(BrokerFile, { io: "input" });
}
