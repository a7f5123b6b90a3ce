/**
 * What vault:// needs of others. Of node-vault two calls are left, its `read` and `write`: vault-client.ts replaces what is
 * below them. Published, this is a file of its own: it is three times the rest of the command.
 */
export { default as nodeVault } from "node-vault";
