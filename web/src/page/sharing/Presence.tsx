import { type PresentUser, Sharing } from "parley-client";
import { useEffect, useState } from "react";
import { useObservable, useParley } from "../session/context";

interface PresenceProps {
  readonly chatId: string;
  readonly users: readonly PresentUser[];
}

/** Who else reads or writes a shared chat now; nothing when nobody does. */
export function Presence({ chatId, users }: PresenceProps) {
  const parley = useParley();
  const { id } = useObservable(parley.user);
  const others = users.filter(({ user_id }) => user_id !== id);
  const names = useNames(
    chatId,
    others.map(({ user_id }) => user_id),
  );
  if (others.length === 0) return null;
  const nameOf = ({ user_id }: PresentUser) => names.get(user_id) ?? "A member";
  const writing = others.filter(({ state }) => state === "writing").map(nameOf);
  const reading = others.filter(({ state }) => state === "reading").map(nameOf);
  const sentences = [sentenceOf(writing, "writing…"), sentenceOf(reading, "reading")];
  return (
    <p
      className="mb-2 truncate px-1 text-muted-foreground text-sm"
      data-testid="presence"
      dir="auto"
      title={[...writing, ...reading].join(", ")}
    >
      {sentences.filter((sentence) => sentence !== "").join(" · ")}
    </p>
  );
}

function sentenceOf(names: readonly string[], activity: string): string {
  const [first] = names;
  if (first === undefined) return "";
  if (names.length === 1) return `${first} is ${activity}`;
  const rest = names.length - 1;
  return `${first} and ${rest} ${rest === 1 ? "other" : "others"} are ${activity}`;
}

/** Returns the members' names by id; loads them when somebody comes whose name is not known. */
function useNames(chatId: string, ids: readonly string[]): ReadonlyMap<string, string> {
  const parley = useParley();
  const [names, setNames] = useState<ReadonlyMap<string, string>>(new Map());
  const unknown = ids.filter((id) => !names.has(id)).join();
  useEffect(() => {
    if (unknown === "") return;
    let current = true;
    new Sharing(parley.http).members(chatId).then(
      (members) => {
        if (!current) return;
        const found = members.map(({ user_id, name }) => [user_id, name || "A member"] as const);
        const missing = unknown.split(",").map((id) => [id, "A member"] as const);
        setNames(new Map([...missing, ...found]));
      },
      () => undefined,
    );
    return () => {
      current = false;
    };
  }, [parley, chatId, unknown]);
  return names;
}
