/**
 * Draws diagrams in a separate document, which the gateway serves without an origin and without network access: a
 * malicious diagram cannot reach the page, its session or another server.
 */
import mermaid from "mermaid";
import { isRequest } from "./messages";

let drawn = 0;
let queue: Promise<void> = Promise.resolve();

window.addEventListener("message", ({ source, data }) => {
  if (source !== window.parent || !isRequest(data)) return;
  const { id, text, dark } = data;
  queue = queue.then(async () => {
    const svg = await draw(text, dark).catch(() => null);
    window.parent.postMessage({ kind: "drawn", id, svg }, "*");
  });
});

async function draw(text: string, dark: boolean): Promise<string> {
  mermaid.initialize({
    startOnLoad: false,
    securityLevel: "strict",
    suppressErrorRendering: true,
    theme: dark ? "dark" : "neutral",
    fontFamily: "system-ui, sans-serif",
    htmlLabels: false,
    flowchart: { htmlLabels: false },
    secure: ["secure", "securityLevel", "startOnLoad", "suppressErrorRendering", "htmlLabels", "themeCSS"],
  });
  drawn += 1;
  const { svg } = await mermaid.render(`diagram-${drawn}`, text);
  return svg;
}

window.parent.postMessage({ kind: "ready" }, "*");
