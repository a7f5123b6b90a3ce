/** Sources of AWS in broker.yaml. */
import { readFile } from "node:fs/promises";
import * as z from "zod/mini";
import { type AwsServer, regionForm } from "../../broker/providers/aws-client.ts";
import type { AwsLogIn } from "../../broker/providers/aws-log-in.ts";
import { awsPsProvider } from "../../broker/providers/aws-ps.ts";
import { awsSmProvider } from "../../broker/providers/aws-sm.ts";
import { fileUri } from "../../broker/providers/file.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import { described } from "../../shared/described.ts";
import { type Credential, ca, credential, kindOfSource, tenants, text } from "./source-fields.ts";

const region = z.string().check(z.regex(regionForm, { error: "a region of AWS, such as eu-west-1" }));
const endpoint = (of: string) =>
  described(
    z.optional(z.url()),
    `Where ${of} is, if not at AWS's own address for the region: such as the URL of a VPC endpoint.`,
  );

const auth = z.union(
  [
    z.strictObject({
      machine: described(
        z.strictObject({}),
        "The role of the EC2 instance, the ECS task or the EKS pod that the broker runs on.",
      ),
    }),
    z.strictObject({
      webIdentity: described(
        z.strictObject({
          role: described(
            z.string().check(z.regex(/^arn:[a-z-]+:iam::\d{12}:role\/\S+$/, { error: "the ARN of a role" })),
            "The ARN of the role to take on.",
          ),
          token: described(
            z._default(credential, fileUri("/var/run/secrets/eks.amazonaws.com/serviceaccount/token")),
            "A token that identifies this broker, read again for each log-in.",
          ),
          sessionName: described(
            z._default(z.string().check(z.regex(/^[\w+=,.@-]{2,64}$/)), "claimcheck"),
            "What AWS's records call the session.",
          ),
          endpoint: endpoint("STS"),
        }),
        "A role that AWS gives for a token of an OpenID Connect issuer (`AssumeRoleWithWebIdentity`).",
      ),
    }),
    z.strictObject({
      keys: described(
        z.strictObject({
          id: described(
            z.string().check(z.regex(/^\w{4,128}$/)),
            "The id of the access key. It is not a secret.",
          ),
          secret: described(credential, "The secret access key."),
          sessionToken: described(z.optional(credential), "The session token of keys that are temporary."),
        }),
        "An access key.",
      ),
    }),
    z.strictObject({
      profile: described(text, "A profile of AWS's configuration files, as the broker's user has them."),
    }),
  ],
  { error: "one of { machine: {} }, { webIdentity: … }, { keys: … } and { profile: NAME }" },
);

const source = <Scheme extends "aws+sm" | "aws+ps">(provider: Scheme) =>
  z.strictObject({
    provider: described(z.literal(provider), kindOfSource),
    tenants,
    region: described(region, "The region of URIs that name none."),
    regions: described(z._default(z.array(region), []), "Further regions that a URI may name."),
    endpoint: endpoint(provider === "aws+sm" ? "Secrets Manager" : "Systems Manager"),
    ca,
    auth: described(auth, "How the broker logs in."),
  });

export const awsSm = source("aws+sm");
export const awsPs = source("aws+ps");
export type AwsEntry = z.infer<typeof awsSm> | z.infer<typeof awsPs>;

/** The URIs of what such a source logs in with. */
export function credentialsOfAws({ auth }: AwsEntry): string[] {
  if ("webIdentity" in auth) return [auth.webIdentity.token];
  if (!("keys" in auth)) return [];
  const { secret, sessionToken } = auth.keys;
  return sessionToken === undefined ? [secret] : [secret, sessionToken];
}

/** Addresses of such a source. */
export const addressesOfAws = ({
  endpoint,
  auth,
}: AwsEntry): Readonly<Record<string, string | undefined>> => ({
  endpoint,
  "auth.webIdentity.endpoint": "webIdentity" in auth ? auth.webIdentity.endpoint : undefined,
});

export function openAws(entry: AwsEntry, credential: Credential, beside: (path: string) => string): Provider {
  const { region, regions, endpoint, ca: file } = entry;
  const ca = file === undefined ? undefined : () => readFile(beside(file), "utf8");
  const server: AwsServer = { region, endpoint, ca, logIn: logInOf(entry.auth, credential) };
  const open = entry.provider === "aws+sm" ? awsSmProvider : awsPsProvider;
  return open({ server, regions }) as unknown as Provider;
}

function logInOf(auth: AwsEntry["auth"], credential: Credential): AwsLogIn {
  if ("machine" in auth) return { method: "machine" };
  if ("profile" in auth) return { method: "profile", profile: auth.profile };
  if ("webIdentity" in auth) {
    const { role, sessionName, token, endpoint } = auth.webIdentity;
    return { method: "webIdentity", role, sessionName, endpoint, token: credential(token) };
  }
  const { id, secret, sessionToken } = auth.keys;
  return {
    method: "keys",
    id,
    secret: credential(secret),
    ...(sessionToken !== undefined && { sessionToken: credential(sessionToken) }),
  };
}
