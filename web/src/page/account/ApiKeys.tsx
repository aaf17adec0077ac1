import type { Account, ApiKey, CreatedApiKey, Scope } from "parley-client";
import { type FormEvent, useState } from "react";
import { Problem } from "../requests/Problem";
import { type Loaded, useLoaded } from "../requests/useLoaded";
import { CopyButton } from "../ui/CopyButton";
import { dateOf, timeAgo } from "../ui/time";

/** The user's API keys: created, shown once, listed and revoked. */
export function ApiKeys({ account }: { readonly account: Account }) {
  const keys = useLoaded("", () => account.apiKeys());
  const [created, setCreated] = useState<CreatedApiKey | null>(null);
  return (
    <>
      <p className="text-muted-foreground text-sm">
        Programs use Parley as you, with one of these keys as bearer token.
      </p>
      <Problem text={keys.problem} />
      {created !== null && <CreatedKey created={created} onDone={() => setCreated(null)} />}
      <KeyForm account={account} keys={keys} onCreated={setCreated} />
      {keys.value?.length === 0 && (
        <p className="mt-4 text-muted-foreground text-sm">You have no API keys.</p>
      )}
      <ul aria-label="API keys" className="rows">
        {keys.value?.map((key) => (
          <KeyRow account={account} apiKey={key} key={key.id} keys={keys} />
        ))}
      </ul>
    </>
  );
}

function CreatedKey({ created, onDone }: { readonly created: CreatedApiKey; onDone(): void }) {
  return (
    <div className="my-3 rounded-lg border border-ring p-3" role="status">
      <p className="text-sm">
        Copy the key “{created.key.name}” now: <strong>it is shown only once.</strong>
      </p>
      <div className="mt-2 flex items-center gap-1">
        <code className="min-w-0 flex-1 break-all text-sm" data-testid="api-key-secret">
          {created.secret}
        </code>
        <CopyButton label="Copy the key" text={created.secret} />
      </div>
      <button className="button mt-2" onClick={onDone} type="button">
        Done
      </button>
    </div>
  );
}

const SCOPES: readonly (readonly [scope: Scope, label: string])[] = [
  ["read", "Read chats"],
  ["write", "Read and write chats"],
  ["openai", "OpenAI-compatible interface"],
];

/** Days until a new key expires; null: never. */
const LIFETIMES: readonly (readonly [days: number | null, label: string])[] = [
  [30, "30 days"],
  [90, "90 days"],
  [365, "A year"],
  [null, "Never"],
];

const DAY = 24 * 60 * 60 * 1000;

interface KeyFormProps {
  readonly account: Account;
  readonly keys: Loaded<readonly ApiKey[]>;
  onCreated(key: CreatedApiKey): void;
}

function KeyForm({ account, keys, onCreated }: KeyFormProps) {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<readonly Scope[]>(["write"]);
  const [days, setDays] = useState<number | null>(90);

  const toggle = (scope: Scope) =>
    setScopes(scopes.includes(scope) ? scopes.filter((other) => other !== scope) : [...scopes, scope]);

  const create = async (event: FormEvent) => {
    event.preventDefault();
    const expires_at = days === null ? null : new Date(Date.now() + days * DAY).toISOString();
    const key = await keys.run(() => account.createApiKey({ name: name.trim(), scopes, expires_at }));
    if (key === null) return;
    onCreated(key);
    setName("");
  };

  return (
    <form className="mt-3 rounded-lg border p-3" onSubmit={create}>
      <div className="flex flex-wrap gap-3">
        <label className="field min-w-48 flex-1">
          Name
          <input
            className="input"
            data-testid="api-key-name"
            maxLength={100}
            onChange={(event) => setName(event.target.value)}
            required
            value={name}
          />
        </label>
        <label className="field">
          Expires after
          <select
            className="input"
            onChange={(event) => setDays(event.target.value === "" ? null : Number(event.target.value))}
            value={days ?? ""}
          >
            {LIFETIMES.map(([value, label]) => (
              <option key={label} value={value ?? ""}>
                {label}
              </option>
            ))}
          </select>
        </label>
      </div>
      <fieldset className="mt-3 flex flex-wrap gap-x-4">
        <legend className="sr-only">What the key may do</legend>
        {SCOPES.map(([scope, label]) => (
          <label className="check" key={scope}>
            <input checked={scopes.includes(scope)} onChange={() => toggle(scope)} type="checkbox" />
            {label}
          </label>
        ))}
      </fieldset>
      <button
        className="button mt-3"
        data-testid="create-api-key"
        disabled={keys.busy || name.trim() === "" || scopes.length === 0}
        type="submit"
      >
        Create a key
      </button>
    </form>
  );
}

interface KeyRowProps {
  readonly account: Account;
  readonly apiKey: ApiKey;
  readonly keys: Loaded<readonly ApiKey[]>;
}

function KeyRow({ account, apiKey, keys }: KeyRowProps) {
  const { id, name, prefix, scopes, created_at, last_used_at, expires_at } = apiKey;
  const details = [
    scopes.join(", "),
    `created ${timeAgo(created_at)}`,
    last_used_at === null ? "never used" : `last used ${timeAgo(last_used_at)}`,
    expires_at === null ? "does not expire" : `expires ${dateOf(expires_at)}`,
  ];
  return (
    <li className="row" data-testid="api-key">
      <div className="min-w-0 flex-1">
        <p className="break-words font-medium" dir="auto">
          {name} <code className="font-normal text-muted-foreground text-sm">{prefix}…</code>
        </p>
        <p className="text-muted-foreground text-sm">{details.join(" · ")}</p>
      </div>
      <button
        aria-label={`Revoke the key “${name}”`}
        className="button text-destructive"
        disabled={keys.busy}
        onClick={() => keys.run(() => account.revokeApiKey(id))}
        type="button"
      >
        Revoke
      </button>
    </li>
  );
}
