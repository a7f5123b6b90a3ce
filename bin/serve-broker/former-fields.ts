/** Fields of broker.yaml that are no more, and what takes their place. */
import { type Fault, unknownField } from "../../shared/yaml-document.ts";

const instead: Readonly<Record<string, string>> = {
  env: "variables belong to tenants: write sources: { variables: { provider: env, tenants: [TENANT], variables: [NAME] } }",
  files:
    "folders belong to tenants: write sources: { files: { provider: file, tenants: [TENANT], roots: [/FOLDER] } }",
  commands:
    "commands belong to tenants: write sources: { commands: { provider: cmd, tenants: [TENANT], commands: [COMMAND] } }",
  signInOrigins:
    "it belongs to a source of 1Password: write sources: { onepassword: { provider: op, tenants: [TENANT], token: env://OP_SERVICE_ACCOUNT_TOKEN, signInOrigins: [ORIGIN] } }",
};

export const explainFormer = (faults: readonly Fault[]): Fault[] =>
  faults.map(({ line, message }) => {
    const [field = "", said] = message.split(": ");
    const isFormer = said === unknownField && Object.hasOwn(instead, field);
    return { line, message: isFormer ? `${field}: ${instead[field]}` : message };
  });
