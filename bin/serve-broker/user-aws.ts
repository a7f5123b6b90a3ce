/** AWS with the user's own log-in. Each run loads this file, and so nothing of what broker.yaml says of AWS. */
import { type AwsServer, regionForm } from "../../broker/providers/aws-client.ts";
import { awsPsProvider } from "../../broker/providers/aws-ps.ts";
import { awsSmProvider } from "../../broker/providers/aws-sm.ts";
import type { Provider } from "../../broker/providers/provider.ts";

/** By the variables `AWS_…`, and the files of AWS's command line. */
export function userAws(environment: Readonly<Record<string, string | undefined>>): Provider[] {
  const named = (name: string) => environment[name]?.trim() || undefined;
  const region = named("AWS_REGION") ?? named("AWS_DEFAULT_REGION");
  const server = (service: string): AwsServer => ({
    region: region !== undefined && regionForm.test(region) ? region : undefined,
    endpoint: named(`AWS_ENDPOINT_URL_${service}`) ?? named("AWS_ENDPOINT_URL"),
    logIn: { method: "user" },
  });
  return [
    awsSmProvider({ server: server("SECRETS_MANAGER") }),
    awsPsProvider({ server: server("SSM") }),
  ] as unknown as Provider[];
}
