/**
 * The certificate that the broker shows, and its key: PEM files that are read again when they change, because
 * certificates are renewed. A pair that cannot be used changes nothing but what /readyz says.
 */
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { Complaint } from "../../broker/health.ts";

/** Paths. */
export interface CertificateFiles {
  /** The broker's own certificate and then those that lead to a root. */
  readonly certificate: string;
  readonly key: string;
}

export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export type CertificateEvent = { readonly certificate: "taken" } | { readonly certificate: "refused" };

/** @throws {NodeJS.ErrnoException} for files that cannot be read, or that OpenSSL cannot use together. */
export async function readCertificate(files: CertificateFiles): Promise<Certificate> {
  const [cert, key] = await Promise.all([readFile(files.certificate), readFile(files.key)]);
  createSecureContext({ cert, key });
  return { cert, key };
}

export type LiveCertificate = Awaited<ReturnType<typeof openCertificate>>;

/** @throws as readCertificate does. */
export async function openCertificate(files: CertificateFiles, report: (event: CertificateEvent) => void) {
  let current = await readCertificate(files);
  let refused = false;
  let renewed: (certificate: Certificate) => void = () => {};
  let reading: Promise<void> = Promise.resolve();

  async function read(): Promise<void> {
    try {
      const next = await readCertificate(files);
      refused = false;
      if (next.cert.equals(current.cert) && next.key.equals(current.key)) return;
      current = next;
      renewed(current);
      report({ certificate: "taken" });
    } catch {
      // While the two files are replaced one after the other, they do not fit for a moment.
      if (!refused) report({ certificate: "refused" });
      refused = true;
    }
  }

  return {
    current: () => current,
    /** The one who serves it is told of each new one. */
    onRenewed(listener: (certificate: Certificate) => void): void {
      renewed = listener;
    },
    reload(): Promise<void> {
      reading = reading.then(read);
      return reading;
    },
    complaints: (): Complaint[] =>
      refused
        ? [
            {
              part: "tls",
              message: "the certificate or its key cannot be used; those before it are served",
              serving: true,
            },
          ]
        : [],
  };
}
