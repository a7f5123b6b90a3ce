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
    z.strictObject({ file: described(text, "A file that holds it.") }),
    z.strictObject({ env: described(variable, "A variable of the broker's environment that holds it.") }),
  ],
  { error: "either { file: PATH } or { env: NAME }" },
);

const counted = (value: number, description: string) => described(z._default(positive, value), description);

/** What a principal, and all principals of a tenant together, may ask for in a minute. */
function quota({ principal, tenant }: { readonly principal: number; readonly tenant: number }, what: string) {
  return described(
    z._default(
      z.strictObject({
        principal: counted(principal, "For each principal."),
        tenant: counted(tenant, "For all principals of a tenant together."),
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
      "Where clients reach it, often through a proxy that ends TLS: the issuer of its handles. No path.",
    ),
    listen: described(z._default(z.string(), "127.0.0.1:7878"), "HOST:PORT to listen on."),
    metrics: described(
      z.optional(z.string()),
      "HOST:PORT where Prometheus reads /metrics, over plain HTTP and without a token; nowhere where it is missing.",
    ),
    tls: described(
      z.optional(
        z.strictObject({
          certificate: described(text, "A file with the certificate and its chain, in PEM."),
          key: described(text, "A file with its key, in PEM."),
        }),
      ),
      "What to serve HTTPS with; read again on SIGHUP and when the files change.",
    ),
    rootKey: described(
      Source,
      "32 bytes, raw or as base64, from which all keys are derived; every replica has the same.",
    ),
    previousRootKey: described(
      z.optional(Source),
      "The one before it, during a rotation: what it signed and sealed is still accepted.",
    ),
    redis: described(
      z.optional(Source),
      "The URL of the Redis or Valkey that replicas share, redis[s]://[[USER][:PASSWORD]@]HOST[:PORT][/DATABASE]. " +
        "Without it handles wait in this process's memory, and a restart voids them.",
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
                  url: described(Source, "Where the database is, as libpq has it."),
                  broker: described(
                    z.optional(text),
                    "This broker's name there; its host's where it is missing.",
                  ),
                }),
              ),
              "A PostgreSQL that replicas share, each under a name of its own.",
            ),
            stdout: described(z.optional(z.boolean()), "Whether standard output gets a copy."),
          }),
        ],
        { error: "a file, or { file: PATH, postgres: { url: … }, stdout: true }" },
      ),
      "Every decision is written here before it takes effect: to a file, to PostgreSQL, or to both.",
    ),
    sources: described(
      z._default(SourceEntries, {}),
      "What tenants read secrets from, by names of your choice. A source's name is part of each canonical URI, as ?source=NAME.",
    ),
    cacheTtl: described(
      z._default(nonnegative, 0),
      "For how long a value that was read is given again, in seconds; a URI's ?ttl= shortens it. 0 reads each time.",
    ),
    quotas: described(
      z._default(
        z.strictObject({
          issue: quota(defaultQuotas.issue, "Secrets to ask for"),
          redeem: quota(defaultQuotas.redeem, "Handles to redeem or check"),
          manage: quota(defaultQuotas.manage, "Handles to look at or revoke, and looks at the audit log"),
        }),
        defaultQuotas,
      ),
      "How much may be asked for.",
    ),
    limits: described(
      z._default(
        z.strictObject({
          headersTimeout: counted(
            defaultLimits.headersTimeout,
            "For the headers of a request to arrive, in seconds.",
          ),
          requestTimeout: counted(
            defaultLimits.requestTimeout,
            "For a whole request to arrive, in seconds; and then for its answer to be read.",
          ),
          connections: counted(defaultLimits.connections, "Connections beyond this many are closed at once."),
        }),
        defaultLimits,
      ),
      "What a client can hold of this process.",
    ),
    shutdown: described(
      z._default(
        z.strictObject({
          delay: described(
            z._default(nonnegative, defaultShutdown.delay),
            "For how long it still serves after SIGTERM, in seconds, while /readyz says that it is draining.",
          ),
          limit: counted(
            defaultShutdown.limit,
            "For how long it then waits for what is under way, in seconds.",
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
