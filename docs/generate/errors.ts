/** docs/reference/errors.md: codes and sentences from the two tables of errors, and for each its cause and its remedy. */

import { ClaimcheckError, type ErrorCode, errorCodes } from "../../shared/errors.ts";
import { Failure, type FailureCode, failureCodes } from "../../shared/failure.ts";
import { cell, page } from "./markdown.ts";

type Help = readonly [cause: string, remedy: string];

/** A code without a row does not compile. */
const help: Record<ErrorCode | FailureCode, Help> = {
  audit_newer: [
    "`claimcheck audit verify` met a log that a newer version wrote. It says nothing about what follows there.",
    "Verify the log with the version that wrote it, or a newer one.",
  ],
  audit_unavailable: [
    "A place of the audit log did not take the record: the disk is full or stalls, PostgreSQL is down, or somebody moved or cut the file.",
    "Look at `/readyz` of the broker. After a failed write, restart the broker once the disk or database works again. The broker released nothing.",
  ],
  body_too_large: [
    "The request has more bytes than the route takes.",
    "Send fewer secrets or smaller values in one request; put large files into an image or a volume.",
  ],
  broker_refused: [
    "The broker said no, in a form that this version does not know.",
    "Read the rest of the line. Check that the URL leads to a Claimcheck broker, and that both are of the same version.",
  ],
  broker_unreachable: [
    "No connection to the broker: the name does not resolve, nothing listens there, a firewall drops the packets, the broker restarts, or the client does not trust its certificate.",
    "Try `curl BROKER/healthz` on the same machine. If curl complains about the certificate, see [certificate not trusted](#certificate-not-trusted).",
  ],
  broker_untrusted: [
    "The answer is not signed by a key that you pinned, or is not about what was asked. Its root key was exchanged, the URL leads to another broker, or a proxy changed the answer.",
    "Compare CLAIMCHECK_BROKER_KEYS (or `broker.keys` of an executor) with what the operator's `claimcheck broker keys` prints. If they are equal, something on the way changes answers.",
  ],
  command_not_executable: [
    "The file of the command has no execute permission, or is for another processor.",
    "Correct the file in the image, or name its interpreter.",
  ],
  command_not_found: [
    "The image has no file of this name on its PATH.",
    "Check the name, and whether the image needs `--entrypoint ''`.",
  ],
  executor_busy: [
    "All places of the executor and of its line are taken.",
    "Try again, or raise `limits.runs` and `limits.waiting` of the executor.",
  ],
  executor_refused: [
    "The executor said no, in a form that this version does not know.",
    "Check that the socket belongs to a Claimcheck executor of the same version.",
  ],
  executor_stopping: ["The executor got SIGTERM and takes no new run.", "Try again when it is back."],
  executor_unreachable: [
    "Nothing listens at CLAIMCHECK_EXECUTOR, or this user may not write to the socket.",
    "Check that the service runs, and that the user is in the group of `listen.group`.",
  ],
  forbidden: [
    "No rule of the policy allows this, or a rule denies it. The answer does not say whether the secret exists.",
    "Ask the operator to run `claimcheck policy explain POLICY --as CLAIMS --uri URI`: it names the rules that are close.",
  ],
  handle_expired: [
    "The handle is older than its `ttl`.",
    "Ask for a new one right before you use it, or for a longer `--ttl` as far as the policy allows.",
  ],
  handle_outdated: [
    "An older version of the broker made the handle.",
    "Upgrade all brokers and executors, and ask for a new handle.",
  ],
  handle_newer: [
    "A newer version of the broker made the handle, and this broker or command is of an older one.",
    "Upgrade all brokers and executors to the same version.",
  ],
  handle_spent: [
    "The handle was redeemed as often as it allows.",
    "Ask for a new one, or for more `--uses` as far as the policy allows. If you did not redeem it, somebody else did: look for its id in the audit log.",
  ],
  handle_void: [
    "The handle was revoked, or the store forgot it: a broker without Redis restarted, or Redis was replaced.",
    "Ask for a new one.",
  ],
  headers_too_large: ["The headers have more bytes than the broker takes.", "Use a token with fewer claims."],
  image_not_made: [
    "buildah could not make or push the image.",
    "Read the rest of the line: it is buildah's own last line.",
  ],
  image_unavailable: [
    "The name is wrong, the registry does not answer or wants a password, or buildah is not installed.",
    "Try `buildah pull IMAGE`. For a password, use `--registry-auth` or `podman login`. An image that buildah or podman built on this host is there by its whole name, `localhost/NAME:TAG`.",
  ],
  internal: [
    "Claimcheck has a fault.",
    "Look for the request's id in the broker's log, and report it with the version and the command.",
  ],
  invalid_cache_key: ["`cacheKey` is an empty text.", "Leave it out, or give it a name."],
  invalid_handle: [
    "The handle is cut off, or is from another broker. From an executor: its `principal` is not what the broker calls it, so the handles are for somebody else.",
    "Copy all of the handle. Compare the executor's `principal` with the `principal` of its records in the audit log.",
  ],
  invalid_layer: [
    "The step left a file that no layer can hold, for example a name that begins with `.wh.`, or somebody still writes to the files.",
    "Remove the file at the end of the step, or end the process that writes.",
  ],
  invalid_plan: [
    "The plan contradicts itself, or asks for more than a plan can have.",
    "Run `claimcheck plan check FILE`.",
  ],
  invalid_proof: [
    "The proof is for another request, key, token or URL, or its time is more than a minute off.",
    "Check the clocks of client and broker. Check that the client's URL is exactly the `url:` of the broker's configuration.",
  ],
  invalid_request: [
    "The request does not have the form that openapi.yaml describes.",
    "Read the rest of the line: it names the field. An older client or broker may need an upgrade.",
  ],
  invalid_uri: [
    "The URI has no scheme, a part is missing, or a parameter is not known.",
    "Compare it with [Where a secret can live](../secrets.md). A pasted value instead of a URI gives this error too: rotate that value if the line went into a log.",
  ],
  invalid_user: [
    "`-u`, the plan or `--secret-owner` names a user that the image does not have.",
    "Use a number, or add the user to the image.",
  ],
  invalid_value: [
    "The wrapped value is encrypted to another broker, or for another request.",
    "Get the broker's encryption key from its `/.well-known/jwks.json` again.",
  ],
  issuer_unavailable: [
    "The broker could not fetch the keys of the token's issuer.",
    "On the broker's host, try `curl ISSUER/.well-known/openid-configuration`. Give the broker a way to the issuer, or `keys:` in the policy. For its certificate, see [certificate not trusted](#certificate-not-trusted).",
  ],
  key_not_registered: [
    "The request's proof is by a key that the policy does not list for this principal.",
    "Add what `claimcheck executor key` prints to `proofKeys` in the policy.",
  ],
  method_not_allowed: [
    "The route does not know this HTTP method.",
    "The `Allow` header of the answer has those that it knows.",
  ],
  network_unavailable: [
    "The bridge could not be made: nftables or iproute2 are missing, or no address is free.",
    "Install `nftables` and `iproute2`, or use `--network host`.",
  ],
  not_found: [
    "Nothing has this id or path for you; what belongs to another tenant is answered the same way.",
    "Check the id and the broker's URL. A handle that was revoked or has expired is not found either.",
  ],
  not_permitted: [
    "The executor's configuration does not allow an image, a volume, a network or a limit of the plan.",
    "Ask the operator to add it to `executor.yaml`; the rest of the line says what.",
  ],
  not_ready: ["A part of the broker does not work.", "Read `complaints` in the answer of `/readyz`."],
  not_redeemed: [
    "The executor asks about a result whose handles it did not redeem in this run.",
    "Run the step again. If it happens often, the executor and the broker are of different versions.",
  ],
  output_failed: [
    "Standard output or standard error was closed or full before everything was written.",
    "Check the disk or the program that reads the output.",
  ],
  plan_mismatch: [
    "The handle was issued for another plan.",
    "Ask for a handle with `--plan` and this very file; `claimcheck plan hash` prints what it has to say.",
  ],
  proof_required: [
    "The token alone is not enough here.",
    "Use `claimcheck` of this version, or send a DPoP proof: [Tokens and keys](../tokens.md).",
  ],
  provider_busy: [
    "The provider answered 429 or asked for a pause.",
    "Wait. The broker asks again by itself after the pause.",
  ],
  provider_denied: [
    "The provider knows the broker but does not let it read this secret.",
    "Give the broker's Vault policy or its 1Password service account access to the secret.",
  ],
  provider_failed: [
    "The provider answered something that is not a secret, its credentials are missing or wrong, or a command ended with an error.",
    "Read the rest of the line. Check the [variables](environment.md#providers) of the provider, and run the command or read by hand.",
  ],
  provider_timeout: [
    "The provider did not answer within its time limit.",
    "Check the provider. If the secret is a command, make it faster.",
  ],
  provider_unreachable: [
    "No connection to the provider.",
    "Try `curl $VAULT_ADDR/v1/sys/health` on the broker's host. For its certificate, see [certificate not trusted](#certificate-not-trusted).",
  ],
  quota_exceeded: [
    "The principal or its tenant asked for more than its quota, or holds more bytes than it may.",
    "Wait for as long as `Retry-After` says, ask for fewer secrets at once, or raise `quotas:` of the broker.",
  ],
  receipt_newer: [
    "A result in the registry is from a newer version.",
    "Nothing: the step runs again. Upgrade this executor to share results with the newer ones.",
  ],
  receipt_outdated: ["A result in the registry is from an older version.", "Nothing: the step runs again."],
  redemption_conflict: [
    "One redemption id came with two different requests.",
    "Use a new id for each request.",
  ],
  request_timeout: [
    "The request did not arrive within the broker's time limit.",
    "Check the network and the proxy between.",
  ],
  runtime_failed: [
    "runc or the supervisor could not start the container.",
    "Read the rest of the line: it is the runtime's own. Check with `runc --version` and `buildah --version` that both work.",
  ],
  result_newer: [
    "A cached result, in the local folder or in a registry, is from a newer version.",
    "Nothing: the step runs again. Upgrade this Claimcheck to use its results.",
  ],
  result_outdated: [
    "A cached result in the local folder is from an older version, which keeps results under other keys.",
    "Nothing: the step runs again. `claimcheck cache prune` removes the result.",
  ],
  secret_leaked: [
    "The step wrote a value into its files.",
    "Remove the file at the end of the step, or keep the secret out of it. `--on-leak warn` lets it pass.",
  ],
  secret_not_found: [
    "The variable, file, item, path or field does not exist.",
    "Check the spelling; a central broker reads only what `env:`, `files:` and `commands:` of its configuration list.",
  ],
  secret_not_text: [
    "The value has a NUL byte, is not UTF-8 or has 128 KiB or more, which no environment can carry.",
    "Use `--secret-file`.",
  ],
  secret_too_large: [
    "The value is larger than the provider's limit (1 MiB).",
    "Split it, or keep it elsewhere and only its key here.",
  ],
  secret_too_short: [
    "Masking a value of fewer than four bytes would mask half of the output.",
    "Use a longer value, or `--short-secrets show` if the output may show it.",
  ],
  secrets_unavailable: [
    "At least one secret of the request could not be read; none was given out.",
    "Each failure is listed with its own code: look that up here.",
  ],
  state_unusable: [
    "A folder or file of Claimcheck cannot be read or written, belongs to somebody else, or has the wrong mode.",
    "Read the rest of the line: it names the path.",
  ],
  storage_full: [
    "The steps of the run have written as much as `--storage-opt`, the plan's `storage` or the executor's ceiling allows, and the next step cannot begin. (A command that writes more gets ENOSPC, and its exit code is its own.)",
    "Raise the limit, or remove what a step does not need any more before it ends.",
  ],
  store_unavailable: [
    "Redis did not answer in time.",
    "Check Redis and the way to it; the client can ask again.",
  ],
  timed_out: [
    "The command ran longer than `--timeout`, `timeout:` or the executor's ceiling.",
    "Raise the limit, or find out why the command takes so long.",
  ],
  token_not_confined: [
    "The policy says `confined` for this principal, and the token names no key.",
    "Use `claimcheck run` of this version, which asks for the right token or seals it: [Tokens and keys](../tokens.md).",
  ],
  token_unavailable: [
    "GitHub did not give the job a token.",
    "Give the job `permissions: { id-token: write }`.",
  ],
  unauthenticated: [
    "The token is missing, has expired, is for another audience, or no issuer of the policy signed it.",
    "The broker's log has a finer `code` for the request. Check the token's `iss`, `aud` and `exp`: `aud` must be the broker's URL, or the issuer's `audience:` in the policy.",
  ],
  unknown_scheme: [
    "The URI begins with a scheme that no provider reads.",
    "Use one of those that the line lists.",
  ],
  unsupported_host: [
    "This host lacks something that containers need: Linux, root, a newer kernel, or a file system that can map users.",
    "Read the rest of the line, and [Isolation](../isolation.md#users). On a Mac, use an executor on a Linux host.",
  ],
  unsupported_media_type: ["The body is not `application/json`.", "Set the `Content-Type` header."],
  usage: [
    "A flag, an argument or a variable is missing or wrong.",
    "Read the rest of the line, and `claimcheck COMMAND --help`.",
  ],
  values_too_large: [
    "The values of one request are larger together than 16 MiB.",
    "Ask for them in several requests.",
  ],
};

export function errors(): string {
  const codes = [...new Set<ErrorCode | FailureCode>([...errorCodes, ...failureCodes])].sort();
  return page(
    "# Errors",
    "The last line on standard error ends in a code in brackets: `claimcheck: SENTENCE: DETAIL [code]`. A broker's answer has it in `code`, and a refused decision in the audit log. Codes do not change between versions; sentences may.",
    ...codes.flatMap(section),
    "## Certificate not trusted",
    "The detail has one of `DEPTH_ZERO_SELF_SIGNED_CERT`, `SELF_SIGNED_CERT_IN_CHAIN`, `UNABLE_TO_VERIFY_LEAF_SIGNATURE`, `UNABLE_TO_GET_ISSUER_CERT_LOCALLY`, `CERT_HAS_EXPIRED` or `ERR_TLS_CERT_ALTNAME_INVALID`. The last two need a new certificate: it has expired, or is for another name than that in the URL.",
    "Node.js trusts the authorities that Mozilla lists. For an authority of your own, set `NODE_EXTRA_CA_CERTS=/path/to/ca.pem` for `claimcheck`: at clients for the broker's certificate, at the broker for issuers and 1Password. For Vault, use VAULT_CACERT. `curl --cacert /path/to/ca.pem BROKER/healthz` shows whether the file is the right one. Do not turn verification off.",
  );
}

function section(code: ErrorCode | FailureCode): string[] {
  const [cause, remedy] = help[code];
  return [
    `## ${code}`,
    `> ${sentences(code).join("<br>")}`,
    `**Cause.** ${cell(cause)}`,
    `**What to do.** ${cell(remedy)}`,
  ];
}

/** A code can be the broker's, with a status, and the command's, with an exit code. */
function sentences(code: string): string[] {
  const ofBroker = errorCodes.filter((each) => each === code).map((each) => new ClaimcheckError(each));
  const ofCommand = failureCodes.filter((each) => each === code).map((each) => new Failure(each));
  return [
    ...ofBroker.map(({ message, status }) => `${message} (HTTP ${status})`),
    ...ofCommand.map(({ message, exitCode }) => `${message} (exit code ${exitCode})`),
  ];
}
