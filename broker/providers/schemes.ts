/** The schemes that there are. To add one is to add its file, and a row here. */
import type { PatternDemands } from "../../shared/pattern-demands.ts";
import { awsPsScheme } from "./aws-ps.ts";
import { awsSmScheme } from "./aws-sm.ts";
import { cmdScheme } from "./cmd.ts";
import { envScheme } from "./env.ts";
import { fileScheme } from "./file.ts";
import { libsecretScheme } from "./libsecret.ts";
import { opScheme } from "./op.ts";
import type { Scheme } from "./provider.ts";
import { vaultScheme } from "./vault.ts";

export const schemes: readonly Scheme[] = [
  envScheme,
  fileScheme,
  cmdScheme,
  opScheme,
  vaultScheme,
  awsSmScheme,
  awsPsScheme,
  libsecretScheme,
];

export const patternDemands: readonly PatternDemands[] = schemes.flatMap(({ patterns }) => patterns ?? []);
