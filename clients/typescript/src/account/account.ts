import type { ApiKey, CreatedApiKey, Me, NewApiKey, SessionSummary, TokenUsage } from "../protocol/bodies.ts";
import type { Page } from "../protocol/protocol.ts";
import type { Http } from "../transport/http.ts";

/** The user's own account: who they are, their sessions, API keys, usage and data. */
export class Account {
  private readonly http: Http;

  constructor(http: Http) {
    this.http = http;
  }

  me(): Promise<Me> {
    return this.http.request("GET", "/me");
  }

  /** Returns the sessions, the most recently used first. */
  async sessions(): Promise<readonly SessionSummary[]> {
    return (await this.http.request<Page<SessionSummary>>("GET", "/sessions")).items;
  }

  async endSession(id: string): Promise<void> {
    await this.http.request("DELETE", `/sessions/${id}`);
  }

  async apiKeys(): Promise<readonly ApiKey[]> {
    return (await this.http.request<Page<ApiKey>>("GET", "/api-keys")).items;
  }

  createApiKey(key: NewApiKey): Promise<CreatedApiKey> {
    return this.http.request("POST", "/api-keys", key);
  }

  async revokeApiKey(id: string): Promise<void> {
    await this.http.request("DELETE", `/api-keys/${id}`);
  }

  /** Returns the usage by day and model, from a day on: `YYYY-MM-DD`, UTC. */
  async usage(from: string): Promise<readonly TokenUsage[]> {
    return (await this.http.request<Page<TokenUsage>>("GET", `/usage?from=${from}`)).items;
  }

  /** The address of an export of everything that is stored of the user, as JSON. */
  get exportAddress(): string {
    return this.http.addressOf("/me/export");
  }

  /** Deletes the user and everything that is stored of the user. */
  async erase(): Promise<void> {
    await this.http.request("DELETE", "/me", { confirm: "erase" });
  }
}
