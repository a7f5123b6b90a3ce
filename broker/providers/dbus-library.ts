/** What libsecret:// needs of others. Published, it is a file of its own, which runs without it do not load. */
import type { Socket } from "node:net";
import dbus from "@homebridge/dbus-native";

// The package has no types of its own.

export interface Message {
  readonly path: string;
  readonly member: string;
  readonly body?: readonly unknown[];
}

interface Call {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string | undefined;
  readonly body?: readonly unknown[] | undefined;
}

export interface Bus {
  readonly connection: {
    on(event: "error" | "end", listener: (thrown?: unknown) => void): void;
    on(event: "message", listener: (message: Message) => void): void;
  };
  invoke(
    call: Call,
    answer: (failure: { readonly name?: string } | null, ...values: unknown[]) => void,
  ): void;
}

interface Library {
  createClient(parameters: { readonly stream: Socket; readonly authMethods: readonly string[] }): Bus;
}

export const { createClient } = dbus as unknown as Library;
