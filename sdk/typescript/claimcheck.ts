/** The door of the package `claimcheck`: chains of containers with secrets. */
export {
  type Container,
  container,
  type ExecOptions,
  type RunRequest,
  type SecretFileOptions,
} from "./container.ts";
export { envFile } from "./env-file.ts";
export { RunError } from "./executor.ts";
export type { CopyOptions, FileOptions } from "./host-files.ts";
export type { Network, Plan, Want } from "./plan.ts";
export { Secret, secret, setSecret } from "./secret.ts";
