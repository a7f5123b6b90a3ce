/**
 * Every way in which a run fails that is not the command's own doing: code → exit code → sentence. Exit codes
 * are Docker's: 125 for ourselves, 126 and 127 for a command that cannot be run or found; and timeout(1)'s 124.
 */
const table = {
  usage: [125, "The command line is invalid."],
  invalid_plan: [125, "The plan is invalid."],
  unsupported_host: [125, "This host does not meet a requirement."],
  state_unusable: [125, "Claimcheck cannot use its state folder."],
  token_unavailable: [125, "Claimcheck could not get a token for the broker."],
  broker_unreachable: [125, "Claimcheck could not reach the broker."],
  broker_refused: [125, "The broker refused the request."],
  broker_untrusted: [125, "The broker's answer is not authentic."],
  executor_unreachable: [125, "Claimcheck could not reach the executor."],
  executor_refused: [125, "The executor refused the request."],
  invalid_handle: [125, "The handle is invalid."],
  handle_outdated: [125, "An older version of Claimcheck made the handle; issue it again."],
  handle_newer: [125, "A newer version of Claimcheck made the handle; upgrade this one."],
  receipt_outdated: [125, "An older version of Claimcheck made the receipt; the step runs again."],
  receipt_newer: [125, "A newer version of Claimcheck made the receipt; the step runs again."],
  result_outdated: [125, "An older version of Claimcheck made the cached result; the step runs again."],
  result_newer: [125, "A newer version of Claimcheck made the cached result; the step runs again."],
  plan_mismatch: [125, "The handle is for another plan."],
  image_unavailable: [125, "The image is not available."],
  network_unavailable: [125, "The network could not be set up."],
  invalid_user: [125, "The image does not have this user."],
  secret_not_text: [125, "The secret cannot be an environment variable; pass it as a file."],
  secret_too_short: [125, "The secret is too short to mask."],
  invalid_layer: [125, "The files that the command left cannot become a layer."],
  secret_leaked: [125, "The files that the command left contain a secret."],
  image_not_made: [125, "The image could not be made."],
  storage_full: [125, "The run has used up its storage."],
  output_failed: [125, "The output could not be written completely."],
  audit_newer: [125, "A newer version of Claimcheck wrote the audit log."],
  runtime_failed: [125, "The container runtime failed."],
  internal: [125, "Claimcheck failed unexpectedly."],
  timed_out: [124, "The command exceeded its time limit."],
  command_not_executable: [126, "The command is not executable."],
  command_not_found: [127, "The image does not contain the command."],
} as const satisfies Record<string, readonly [exitCode: number, message: string]>;

export type FailureCode = keyof typeof table;

export const failureCodes = Object.keys(table) as FailureCode[];

/** What went wrong with one of several things that were asked for. */
export interface FailedItem {
  readonly index: number;
  readonly code: string;
  readonly title: string;
  readonly detail?: string | undefined;
}

interface Particulars {
  /** Shown to the user, so it holds no value and no token. */
  detail?: string;
  items?: readonly FailedItem[];
  /** The other side's own code and sentence, where it said no. */
  problem?: { code: string; title: string };
  /** Of a run that another process made. */
  exitCode?: number;
  /** After how many seconds the broker would be asked again. */
  retryAfter?: number;
  cause?: unknown;
}

/** Of a detail, in characters: some quote what they were given. */
const detailLimit = 4000;

export class Failure extends Error {
  override readonly name = "Failure";
  readonly code: string;
  readonly exitCode: number;
  detail: string | undefined;
  readonly retryAfter: number | undefined;
  #items: readonly FailedItem[];

  constructor(
    code: FailureCode,
    { detail, problem, exitCode, retryAfter, cause, items = [] }: Particulars = {},
  ) {
    super(problem?.title ?? table[code][1], { cause });
    this.code = problem?.code ?? code;
    this.exitCode = exitCode ?? table[code][0];
    this.detail = detail?.slice(0, detailLimit);
    this.retryAfter = retryAfter;
    this.#items = items;
  }

  /** Says of each item what the user calls it, where its name is known. */
  nameItems(names: readonly (string | undefined)[]): void {
    if (this.#items.length === 0) return;
    this.#items = this.#items.map((item) => {
      const name = names[item.index];
      return name === undefined ? item : { ...item, detail: `${item.detail ?? item.title} (for ${name})` };
    });
    this.detail = [...new Set(this.#items.map(({ detail, title }) => detail ?? title))].join("; ");
  }

  /** Changes all that is particular to it, for example to mask values. */
  rewrite(change: (text: string) => string): void {
    if (this.detail) this.detail = change(this.detail);
    this.#items = this.#items.map((item) => (item.detail ? { ...item, detail: change(item.detail) } : item));
  }

  /** A line, or one for each item: what happened, what it was about, the code to look up. */
  override toString(): string {
    if (this.#items.length > 1) return this.#items.map(lineOf).join("\n");
    return lineOf({ code: this.code, title: this.message, detail: this.detail });
  }
}

function lineOf({ code, title, detail }: Omit<FailedItem, "index">): string {
  const text = detail ? `${title.replace(/\.$/, "")}: ${detail.slice(0, detailLimit)}` : title;
  return `${text.replace(/\s+/g, " ")} [${code}]`;
}
