import { type Chat, type Role, Sharing } from "parley-client";
import { useEffect, useState } from "react";
import { useObservable, useParley } from "../session/context";

/** Returns the user's role in a chat; null while it is not known. */
export function useRole(chat: Chat | null): Role | null {
  const parley = useParley();
  const { id: userId } = useObservable(parley.user);
  const [found, setFound] = useState<{ readonly key: string; readonly role: Role } | null>(null);
  const owner = chat?.owner_id === userId;
  const chatId = chat?.id ?? null;
  const version = chat?.version;
  const key = `${userId} ${chatId} ${chat?.owner_id}`;

  // biome-ignore lint/correctness/useExhaustiveDependencies: a change of the role is a change of the chat
  useEffect(() => {
    if (chatId === null || owner || userId === "") return;
    let current = true;
    const load = () => {
      if (document.hidden) return;
      new Sharing(parley.http).members(chatId).then(
        (members) => {
          const role = members.find(({ user_id }) => user_id === userId)?.role;
          if (current && role !== undefined) setFound({ key, role });
        },
        // Without the role, the server refuses what a reader sends.
        () => undefined,
      );
    };
    load();
    document.addEventListener("visibilitychange", load);
    return () => {
      current = false;
      document.removeEventListener("visibilitychange", load);
    };
  }, [parley, chatId, owner, userId, key, version]);

  if (chat === null) return null;
  if (owner) return "owner";
  return found?.key === key ? found.role : null;
}
