/**
 * Every way in which a run fails that is not the command's own doing: code → exit code → sentence. Exit codes
 * are Docker's: 125 for ourselves, 126 and 127 for a command that cannot be run or found; and timeout(1)'s 124.
 */
const table = {
  usage: [125, "The command line is not understood."],
  invalid_plan: [125, "What is to be run is not described well."],
  unsupported_host: [125, "Containers cannot run here."],
  state_unusable: [125, "The state folder cannot be used."],
  token_unavailable: [125, "The token for the broker cannot be had."],
  broker_unreachable: [125, "The broker cannot be reached."],
  broker_refused: [125, "The broker refused."],
  broker_untrusted: [125, "The broker's answer cannot be trusted."],
  executor_unreachable: [125, "The executor cannot be reached."],
  executor_refused: [125, "The executor refused."],
  invalid_handle: [125, "The handle is not good."],
  handle_outdated: [125, "The handle has the form of an older version; issue it again."],
  receipt_outdated: [125, "The receipt has the form of an older version; the step has to run again."],
  audit_newer: [125, "A newer version of Claimcheck wrote the audit log."],
  plan_mismatch: [125, "The handle is not for this plan."],
  image_unavailable: [125, "The image cannot be had."],
  network_unavailable: [125, "The network cannot be had."],
  invalid_user: [125, "The image has no such user."],
  secret_not_text: [125, "The secret cannot be an environment variable; use a file."],
  secret_too_short: [125, "The secret is too short to be masked."],
  invalid_layer: [125, "What the command left cannot be a layer."],
  secret_leaked: [125, "A secret is in what the command left."],
  image_not_made: [125, "The result cannot be an image."],
  output_failed: [125, "The output could not be written, and is not whole."],
  runtime_failed: [125, "The container runtime failed."],
  internal: [125, "Claimcheck failed."],
  timed_out: [124, "The command took longer than it may."],
  command_not_executable: [126, "The command cannot be executed."],
  command_not_found: [127, "The command does not exist in the image."],
} as const satisfies Record<string, readonly [exitCode: number, message: string]>;

export type FailureCode = keyof typeof table;

export const failureCodes = Object.keys(table) as FailureCode[];

interface Particulars {
  /** Shown to the user, so it holds no value and no token. */
  detail?: string;
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

  constructor(code: FailureCode, { detail, problem, exitCode, retryAfter, cause }: Particulars = {}) {
    super(problem?.title ?? table[code][1], { cause });
    this.code = problem?.code ?? code;
    this.exitCode = exitCode ?? table[code][0];
    this.detail = detail?.slice(0, detailLimit);
    this.retryAfter = retryAfter;
  }

  /** One line: what happened, what it was about, the code to look up. */
  override toString(): string {
    const text = this.detail ? `${this.message.replace(/\.$/, "")}: ${this.detail}` : this.message;
    return `${text.replace(/\s+/g, " ")} [${this.code}]`;
  }
}
