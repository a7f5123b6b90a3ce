/** What AWS's schemes need of others. Published, it is a file of its own, which runs without them do not load. */
export {
  fromHttp,
  fromIni,
  fromInstanceMetadata,
  fromNodeProviderChain,
  fromWebToken,
} from "@aws-sdk/credential-providers";
export { Sha256 } from "@smithy/core/checksum";
export {
  loadConfig,
  NODE_REGION_CONFIG_FILE_OPTIONS,
  NODE_REGION_CONFIG_OPTIONS,
} from "@smithy/core/config";
export { SignatureV4 } from "@smithy/signature-v4";
