/** The thread in which a policy file is read: a long one would keep everybody else waiting for seconds. */
import { parentPort, workerData } from "node:worker_threads";
import { readPolicy } from "../../broker/policy/file.ts";
import { secretPatterns } from "./secret-patterns.ts";

parentPort?.postMessage(readPolicy(workerData as string, secretPatterns));
