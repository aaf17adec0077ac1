import { connect, type Parley } from "parley-client";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { ErrorBoundary } from "./loading/ErrorBoundary";
import { FailedPage } from "./loading/ReloadNotice";
import { sharedToken } from "./route";
import { ParleyContext } from "./session/context";
import { SharedChat } from "./sharing/SharedChat";
import "./styles.css";

declare global {
  interface Window {
    /**
     * For debugging and browser tests: `parley.state(chatId)` is what the client has assembled of a chat, raw texts
     * among it (`messages[n].content`, and `generation.text` while an answer runs).
     */
    parley: Parley;
  }
}

const root = document.getElementById("root");
if (root === null) throw new Error("The page has no root element.");

/** Returns the page of the address: a shared chat is read without a session and a connection. */
function pageOf(shared: string | null) {
  if (shared !== null) return <SharedChat token={shared} />;
  window.parley = connect();
  return (
    <ParleyContext value={window.parley}>
      <App />
    </ParleyContext>
  );
}

createRoot(root).render(
  <StrictMode>
    <ErrorBoundary fallback={<FailedPage />}>{pageOf(sharedToken())}</ErrorBoundary>
  </StrictMode>,
);
