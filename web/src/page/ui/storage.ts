import { useState } from "react";

type Area = "local" | "session";

/** The number of chats whose values are stored. */
const MAX_CHATS = 100;

/** A state that persists in `localStorage`, as JSON, where the browser allows it. */
export function useStored<Value>(name: string, initial: Value): [Value, (value: Value) => void] {
  const [value, setValue] = useState<Value>(() => read<Value>("local", name) ?? initial);
  const set = (next: Value) => {
    setValue(next);
    write("local", name, next);
  };
  return [value, set];
}

/** A value for each of the most recently changed chats. */
export class ChatMemory<Value> {
  private readonly area: Area;
  private readonly name: string;

  /** @param area `session`: until the tab is closed, across reloads. `local`: in this browser. */
  constructor(area: Area, name: string) {
    this.area = area;
    this.name = name;
  }

  get(chatId: string): Value | null {
    return new Map(this.entries()).get(chatId) ?? null;
  }

  /** Null removes the value. */
  set(chatId: string, value: Value | null): void {
    const others = this.entries().filter(([id]) => id !== chatId);
    const entries = value === null ? others : [...others, [chatId, value] as const];
    write(this.area, this.name, entries.slice(-MAX_CHATS));
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
    // Without storage, the value lasts as long as the page at most.
  }
}

function storage(area: Area): Storage {
  return area === "local" ? localStorage : sessionStorage;
}
