let latest = 0;

/**
 * Returns a new UUIDv7 (RFC 9562 §5.7) as lower-case text. Those made here sort in the order in which they were made,
 * also within one millisecond: then the time runs ahead a little.
 *
 * Messages and chats are named by the client, so that sending one again changes nothing.
 */
export function newId(): string {
  latest = Math.max(Date.now(), latest + 1);
  return idAt(latest);
}

/** Returns a UUIDv7 of that time: 48 bits of Unix milliseconds, then randomness. */
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

/** Whether `text` is a UUID in the one spelling that Parley accepts. */
export function isId(text: string): boolean {
  return CANONICAL.test(text);
}
