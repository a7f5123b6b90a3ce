/** What vault:// needs of others. Published, it is a file of its own: it is three times the rest of the command. */
export { default as nodeVault } from "node-vault";
