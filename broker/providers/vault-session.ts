/**
 * A token for a Vault server, kept alive: renewed when two thirds of its lease are over, and fetched anew when that
 * does not help. A 403 means either that the policy denies or that the token is dead, and its text does not
 * tell; so the token is asked about itself, and only a dead one is replaced, once.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import { SourceFailure } from "./provider.ts";
import { asSourceFailure, type VaultClient, VaultRefusal } from "./vault-client.ts";

export type LogIn =
  | { readonly method: "token"; readonly token: () => Promise<string> }
  | {
      readonly method: "approle";
      readonly mount: string;
      readonly roleId: string;
      readonly secretId: string | (() => Promise<string>);
    }
  | {
      readonly method: "jwt" | "kubernetes";
      readonly mount: string;
      readonly role: string;
      /** Read again for each log-in, because Kubernetes replaces the file before the token expires. */
      readonly jwt: () => Promise<string>;
    };

interface Lease {
  readonly token: string;
  /** As it was given, in milliseconds; 0 never ends. */
  readonly duration: number;
  /** By `performance.now()`. */
  readonly until: number;
}

/** setTimeout takes longer times for none at all. */
const longestTimer = 24 * 60 * 60 * 1000;
/** A lease that is renewed to less than this part of what it was is near its end. */
const floor = 0.25;
/** For what a session asks for itself, in milliseconds. */
const timeLimit = 10_000;
/** A token that we were given is asked about its lease only by a process that lives so long. */
const adoptionTime = 30_000;
/** How long a refused log-in is not tried again, in milliseconds. */
const refusedTime = 10_000;

export type VaultSession = ReturnType<typeof createVaultSession>;

export function createVaultSession(client: VaultClient, logIn: LogIn, namespace: string | undefined) {
  let current: Lease | undefined;
  let loggingIn: Promise<Lease> | undefined;
  let refused: { readonly failure: SourceFailure; readonly until: number } | undefined;
  const examinations = new Map<Lease, Promise<boolean>>();
  /** Who hears of it late need not ask. */
  const dead = new WeakSet<Lease>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  const own = (token?: string) => ({
    ...(token !== undefined && { token }),
    namespace,
    signal: AbortSignal.timeout(timeLimit),
  });

  /** One log-in for all who wait for it. */
  function lease(): Promise<Lease> {
    if (current && performance.now() < current.until) return Promise.resolve(current);
    if (refused && performance.now() < refused.until) return Promise.reject(refused.failure);
    loggingIn ??= fetchLease().finally(() => {
      loggingIn = undefined;
    });
    return loggingIn;
  }

  async function fetchLease(): Promise<Lease> {
    if (logIn.method === "token") {
      const given = leaseOf(await logIn.token().catch(unreadable), 0);
      current = given;
      wake(adoptionTime, () => void adopt(given));
      return given;
    }
    const path = `auth/${logIn.mount.split("/").map(encodeURIComponent).join("/")}/login`;
    const { auth } = (await client.write(path, await credentials(logIn), own()).catch((thrown: unknown) => {
      if (!(thrown instanceof VaultRefusal)) throw thrown;
      if (thrown.status !== 400 && thrown.status !== 403) throw asSourceFailure(thrown);
      const detail = `the Vault server refuses the log-in by ${logIn.method}`;
      const failure = new SourceFailure("provider_denied", { detail, after: refusedTime });
      refused = { failure, until: performance.now() + refusedTime };
      throw failure;
    })) as { auth: Grant };
    const fetched = leaseOf(auth.client_token, auth.lease_duration);
    current = fetched;
    if (auth.renewable) scheduleRenewal(fetched);
    return fetched;
  }

  /** A token that we were given may end too, and be renewable. */
  async function adopt(given: Lease): Promise<void> {
    const answer = await client.read("auth/token/lookup-self", own(given.token)).catch(() => undefined);
    const { ttl = 0, renewable = false } = (answer as { data?: TokenFacts } | undefined)?.data ?? {};
    if (ttl === 0 || !renewable || current !== given) return;
    current = leaseOf(given.token, ttl);
    scheduleRenewal(current);
  }

  function scheduleRenewal(of: Lease): void {
    if (of.duration === 0) return;
    // Around two thirds, and not all replicas at the same moment.
    wake(of.duration * (0.62 + 0.08 * Math.random()), () => void renew(of));
  }

  function wake(after: number, act: () => void): void {
    clearTimeout(timer);
    if (closed) return;
    const step = Math.min(after, longestTimer);
    timer = setTimeout(() => (after > step ? wake(after - step, act) : act()), step).unref();
  }

  async function renew(of: Lease): Promise<void> {
    if (current !== of) return;
    try {
      const { auth } = (await client.write("auth/token/renew-self", {}, own(of.token))) as { auth: Grant };
      if (current !== of) return;
      const renewed = leaseOf(of.token, auth.lease_duration);
      current = renewed;
      // What is near its end, or cannot be renewed, is used to its end; then comes a log-in.
      if (auth.renewable && renewed.duration >= floor * of.duration) scheduleRenewal(renewed);
    } catch (thrown) {
      const refused = thrown instanceof VaultRefusal && (thrown.status === 400 || thrown.status === 403);
      // Whatever else went wrong may pass before the lease is over.
      if (!refused && current === of) wake(Math.max(1_000, of.duration / 20), () => void renew(of));
    }
  }

  /** @returns whether the server still knows the token; asked once for all who wonder. */
  function isAlive(of: Lease): Promise<boolean> {
    let examination = examinations.get(of);
    if (!examination) {
      examination = client
        .read("auth/token/lookup-self", own(of.token))
        .then(
          () => true,
          (thrown: unknown) => {
            if (!(thrown instanceof VaultRefusal) || thrown.status !== 403) throw thrown;
            dead.add(of);
            return false;
          },
        )
        .finally(() => examinations.delete(of));
      examinations.set(of, examination);
    }
    return examination;
  }

  return {
    /**
     * Makes a request with a token.
     *
     * @throws {VaultRefusal} 403 only if the policy denies it.
     */
    async authorized<T>(request: (token: string) => Promise<T>): Promise<T> {
      const used = await lease();
      try {
        return await request(used.token);
      } catch (thrown) {
        if (!(thrown instanceof VaultRefusal) || thrown.status !== 403) throw thrown;
        if (!dead.has(used) && (await isAlive(used))) throw thrown;
      }
      // A renewal meanwhile made another lease of the same token.
      if (current?.token === used.token) current = undefined;
      const next = await lease();
      if (next.token === used.token) {
        throw new SourceFailure("provider_denied", {
          detail: "the Vault token is invalid or has expired",
        });
      }
      return request(next.token);
    },

    /** Gets a token that the server knows, now. */
    async logIn(): Promise<void> {
      const fetched = await lease();
      if (!(await isAlive(fetched))) {
        throw new SourceFailure("provider_denied", {
          detail: "the Vault token is invalid or has expired",
        });
      }
    },

    close(): void {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** What a log-in or a renewal gives. */
interface Grant {
  readonly client_token: string;
  readonly lease_duration: number;
  readonly renewable: boolean;
}

interface TokenFacts {
  /** In seconds; 0 never ends. */
  readonly ttl?: number;
  readonly renewable?: boolean;
}

const leaseOf = (token: string, seconds: number): Lease => ({
  token,
  duration: seconds * 1000,
  until: seconds === 0 ? Number.POSITIVE_INFINITY : performance.now() + seconds * 1000,
});

async function credentials(logIn: Exclude<LogIn, { method: "token" }>): Promise<object> {
  if (logIn.method === "approle") {
    const { roleId, secretId } = logIn;
    return { role_id: roleId, secret_id: typeof secretId === "string" ? secretId : await secretId() };
  }
  return { role: logIn.role, jwt: await logIn.jwt().catch(unreadable) };
}

function unreadable(cause: NodeJS.ErrnoException): never {
  if (cause instanceof ClaimcheckError) throw cause;
  throw new ClaimcheckError("provider_failed", {
    detail: `the token for Vault cannot be read (${cause.code})`,
  });
}
