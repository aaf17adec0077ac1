import { useState } from "react";

type Area = "local" | "session";

/** How many chats something is remembered of. */
const REMEMBERED = 100;

/** A state that this browser remembers, where it may; of what can be written as JSON. */
export function useStored<Value>(name: string, initial: Value): [Value, (value: Value) => void] {
  const [value, setValue] = useState<Value>(() => read<Value>("local", name) ?? initial);
  const set = (next: Value) => {
    setValue(next);
    write("local", name, next);
  };
  return [value, set];
}

/** What is remembered of single chats: those changed last. */
export class ChatMemory<Value> {
  private readonly area: Area;
  private readonly name: string;

  /** @param area `session`: as long as the tab is open, also over a reload. `local`: by this browser. */
  constructor(area: Area, name: string) {
    this.area = area;
    this.name = name;
  }

  get(chatId: string): Value | null {
    return new Map(this.entries()).get(chatId) ?? null;
  }

  /** Null forgets. */
  set(chatId: string, value: Value | null): void {
    const others = this.entries().filter(([id]) => id !== chatId);
    const entries = value === null ? others : [...others, [chatId, value] as const];
    write(this.area, this.name, entries.slice(-REMEMBERED));
  }

  private entries(): (readonly [string, Value])[] {
    const found = read<unknown>(this.area, this.name);
    return Array.isArray(found) ? (found as [string, Value][]) : [];
  }
}

function read<Value>(area: Area, name: string): Value | null {
  try {
    return JSON.parse(storage(area).getItem(name) ?? "null") as Value | null;
  } catch {
    return null;
  }
}

function write(area: Area, name: string, value: unknown): void {
  try {
    storage(area).setItem(name, JSON.stringify(value));
  } catch {
    // Without storage it is remembered as long as the page is open, or not at all.
  }
}

function storage(area: Area): Storage {
  return area === "local" ? localStorage : sessionStorage;
}
