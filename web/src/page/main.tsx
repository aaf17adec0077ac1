import { connect, type Parley } from "parley-client";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { ParleyContext } from "./session/context";
import { ErrorBoundary } from "./ui/ErrorBoundary";
import { FailedPage } from "./ui/ReloadNotice";
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

window.parley = connect();
createRoot(root).render(
  <StrictMode>
    <ParleyContext value={window.parley}>
      <ErrorBoundary fallback={<FailedPage />}>
        <App />
      </ErrorBoundary>
    </ParleyContext>
  </StrictMode>,
);
