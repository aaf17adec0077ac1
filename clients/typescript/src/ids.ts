let latest = 0;

/**
 * Returns a new UUIDv7 (RFC 9562 §5.7) as lower-case text. The ids of one page sort in the order of their creation: within
 * one millisecond, the time of the next id is advanced.
 *
 * The client creates the ids of messages and chats, so that a repeated request is idempotent.
 */
export function newId(): string {
  latest = Math.max(Date.now(), latest + 1);
  return idAt(latest);
}

/** Returns a UUIDv7 of the given time: 48 bits of Unix milliseconds, then random bits. */
export function idAt(milliseconds: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let index = 0; index < 6; index++) {
    bytes[index] = Math.floor(milliseconds / 2 ** (8 * (5 - index))) % 256;
  }
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const CANONICAL = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Whether `text` is a UUID in the canonical form, the only one that Parley accepts. */
export function isId(text: string): boolean {
  return CANONICAL.test(text);
}
