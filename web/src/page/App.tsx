import { useEffect, useState } from "react";
import { ChatPage } from "./ChatPage";
import { useParley } from "./parley";
import { useRoute } from "./route";
import { Sidebar } from "./Sidebar";
import { useStored } from "./stored";

/** The whole page: the list of chats beside the chat that the address names. */
export function App() {
  const parley = useParley();
  const [chatId, open] = useRoute();
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

  const choose = (id: string | null) => {
    setMenuOpen(false);
    open(id);
  };

  return (
    <div className="flex h-full">
      <Sidebar
        chatId={chatId}
        collapsed={collapsed}
        onChoose={choose}
        onClose={() => setMenuOpen(false)}
        onCollapse={() => setCollapsed(true)}
        open={menuOpen}
      />
      <ChatPage
        chatId={chatId}
        onMenu={() => {
          setMenuOpen(true);
          setCollapsed(false);
        }}
        onOpen={choose}
        sidebarCollapsed={collapsed}
      />
    </div>
  );
}
