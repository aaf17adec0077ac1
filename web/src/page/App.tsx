import { useEffect, useState } from "react";
import { ChatPage } from "./ChatPage";
import { useParley } from "./parley";
import { useRoute } from "./route";
import { SearchDialog } from "./SearchDialog";
import { Sidebar } from "./Sidebar";
import { useStored } from "./stored";

/** The whole page: the list of chats beside the chat that the address names. */
export function App() {
  const parley = useParley();
  const [route, open] = useRoute();
  const [searching, setSearching] = useState(false);
  const [menuOpen, setMenuOpen] = useState(false);
  const [collapsed, setCollapsed] = useStored("sidebar-collapsed", false);

  useEffect(() => {
    const refresh = () => {
      // A list that cannot be read now is read again at the next occasion; the connection notice tells why.
      if (!document.hidden) parley.chats.refresh().catch(() => undefined);
    };
    refresh();
    document.addEventListener("visibilitychange", refresh);
    // A socket says by itself when the list has to be read again; server-sent events are of one chat.
    let wasOnline = true;
    const unsubscribe = parley.connection.subscribe(() => {
      const { status, transport } = parley.connection.getSnapshot();
      if (status === "online" && transport === "events" && !wasOnline) refresh();
      wasOnline = status === "online";
    });
    return () => {
      document.removeEventListener("visibilitychange", refresh);
      unsubscribe();
    };
  }, [parley]);

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const command = event.ctrlKey || event.metaKey;
      if (!command || event.shiftKey || event.altKey || event.key.toLowerCase() !== "k") return;
      event.preventDefault();
      setSearching(true);
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, []);

  const choose = (id: string | null, messageId: string | null = null) => {
    setMenuOpen(false);
    open(id, messageId);
  };

  return (
    <div className="flex h-full">
      <Sidebar
        chatId={route.chatId}
        collapsed={collapsed}
        onChoose={choose}
        onClose={() => setMenuOpen(false)}
        onCollapse={() => setCollapsed(true)}
        onSearch={() => setSearching(true)}
        open={menuOpen}
      />
      <ChatPage
        onMenu={() => {
          setMenuOpen(true);
          setCollapsed(false);
        }}
        onOpen={choose}
        route={route}
        sidebarCollapsed={collapsed}
      />
      {searching && <SearchDialog onClose={() => setSearching(false)} onOpen={choose} />}
    </div>
  );
}
