import { useEffect, useState } from "react";
import { flushSync } from "react-dom";
import { ChatPage } from "./chat/ChatPage";
import { UnknownPage } from "./chat/statusPages";
import { useRoute } from "./route";
import { SearchDialog } from "./search/SearchDialog";
import { useObservable, useParley } from "./session/context";
import { SignInPage } from "./session/SignInPage";
import { useSignIn } from "./session/signIn";
import { Sidebar } from "./sidebar/Sidebar";
import { useStored } from "./ui/storage";
import { useStableCallback } from "./ui/useStableCallback";

/** The width from which the list of chats has a column of its own. */
const WIDE = "(min-width: 48rem)";

/** The whole page: the list of chats and the chat that the address names. */
export function App() {
  const parley = useParley();
  const [route, open] = useRoute();
  const [searching, setSearching] = useState(false);
  const [menuOpen, setMenuOpen] = useState(false);
  const [collapsed, setCollapsed] = useStored("sidebar-collapsed", false);

  const session = useObservable(parley.session);
  const userId = useObservable(parley.http.user);
  const { guest } = useObservable(parley.user);
  const { provider } = useSignIn();
  // While the page shows a user's chats, a notice asks to sign in again.
  const ended = session === "lost" && !guest && userId === null;

  useEffect(() => {
    const refresh = () => {
      // A failed refresh is repeated at the next event; the connection notice shows the cause.
      if (!document.hidden) parley.chats.refresh().catch(() => undefined);
    };
    refresh();
    document.addEventListener("visibilitychange", refresh);
    // A socket carries frames about the list; server-sent events carry one chat each.
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

  useEffect(
    () =>
      parley.http.sessions.subscribe(() => {
        // A new guest's in place of a good or a lost one: what the user before did not send is the draft of a new chat.
        const replaced = parley.session.getSnapshot() !== "unknown";
        if (replaced && parley.http.session?.new_guest === true) open(null);
      }),
    [parley, open],
  );

  const closeMenu = useStableCallback(() => {
    if (!menuOpen) return;
    // The page behind the open list is inert: it can take the focus only after the list is closed.
    flushSync(() => setMenuOpen(false));
    document.querySelector<HTMLElement>("[data-testid=open-list]")?.focus();
  });

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const command = event.ctrlKey || event.metaKey;
      if (event.key === "Escape" && !event.defaultPrevented) closeMenu();
      if (!command || event.shiftKey || event.altKey || event.key.toLowerCase() !== "k") return;
      event.preventDefault();
      setSearching(true);
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, [closeMenu]);

  useEffect(() => {
    // By default, a browser navigates to a file that is dropped on the page.
    const refuse = (event: DragEvent) => {
      if (event.dataTransfer?.types.includes("Files") !== true) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "none";
    };
    window.addEventListener("dragover", refuse);
    window.addEventListener("drop", refuse);
    return () => {
      window.removeEventListener("dragover", refuse);
      window.removeEventListener("drop", refuse);
    };
  }, []);

  // On a wide screen the list does not cover the page.
  useEffect(() => {
    const wide = window.matchMedia(WIDE);
    const onChange = () => wide.matches && setMenuOpen(false);
    wide.addEventListener("change", onChange);
    return () => wide.removeEventListener("change", onChange);
  }, []);

  const choose = (id: string | null, messageId: string | null = null) => {
    setMenuOpen(false);
    open(id, messageId);
  };

  if (provider !== null && (session === "refused" || ended)) return <SignInPage ended={ended} />;
  if (route.unknown) return <UnknownPage onHome={() => choose(null)} />;
  return (
    <div className="flex h-full">
      <Sidebar
        chatId={route.chatId}
        collapsed={collapsed}
        onChoose={choose}
        onClose={closeMenu}
        onCollapse={() => setCollapsed(true)}
        onSearch={() => setSearching(true)}
        open={menuOpen}
      />
      <ChatPage
        covered={menuOpen}
        onMenu={() => {
          setMenuOpen(!window.matchMedia(WIDE).matches);
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
