import { type DrawRequest, isAnswer } from "../../diagram/messages";

/** Milliseconds for drawing a diagram, including the load of Mermaid. */
const TIMEOUT = 20_000;

/** A picture of a diagram, in CSS pixels. */
export interface Drawing {
  readonly src: string;
  readonly width: number;
  readonly height: number;
}

let frame: Promise<Window> | null = null;
let requests = 0;
const waiting = new Map<number, (svg: string | null) => void>();

/** Draws a diagram; null for an invalid one. Rejects when Mermaid cannot be loaded. */
export async function drawDiagram(text: string, dark: boolean): Promise<Drawing | null> {
  frame ??= openFrame();
  const target = await frame;
  const id = ++requests;
  const svg = await new Promise<string | null>((resolve) => {
    const timer = setTimeout(() => resolve(null), TIMEOUT);
    waiting.set(id, (drawn) => {
      clearTimeout(timer);
      resolve(drawn);
    });
    const request: DrawRequest = { kind: "draw", id, text, dark };
    target.postMessage(request, "*");
  });
  waiting.delete(id);
  return svg === null ? null : drawingOf(svg);
}

/** Opens the hidden document that draws: Mermaid needs a layout to measure text. */
function openFrame(): Promise<Window> {
  const element = document.createElement("iframe");
  element.src = "diagram.html";
  element.setAttribute("sandbox", "allow-scripts");
  element.setAttribute("aria-hidden", "true");
  element.tabIndex = -1;
  element.title = "Draws diagrams";
  element.className = "diagram-frame";
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      element.remove();
      frame = null;
      reject(new Error("Mermaid did not load."));
    }, TIMEOUT);
    window.addEventListener("message", ({ source, data }) => {
      if (source !== element.contentWindow || source === null || !isAnswer(data)) return;
      if (data.kind === "drawn") {
        waiting.get(data.id)?.(data.svg);
      } else {
        clearTimeout(timer);
        resolve(source as Window);
      }
    });
    document.body.append(element);
  });
}

/** Returns the drawing as an image: in an image, an SVG can neither run scripts nor load resources. */
function drawingOf(svg: string): Drawing | null {
  const box = /viewBox="[-\d.]+[ ,]+[-\d.]+[ ,]+([\d.]+)[ ,]+([\d.]+)"/.exec(svg);
  const width = Number(box?.[1]);
  const height = Number(box?.[2]);
  if (!(width > 0 && height > 0)) return null;
  const sized = svg.replace(/^<svg\b([^>]*?)\swidth="100%"/, `<svg$1 width="${width}" height="${height}"`);
  return { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(sized)}`, width, height };
}
