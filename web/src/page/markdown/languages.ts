import dart from "highlight.js/lib/languages/dart";
import dockerfile from "highlight.js/lib/languages/dockerfile";
import elixir from "highlight.js/lib/languages/elixir";
import haskell from "highlight.js/lib/languages/haskell";
import http from "highlight.js/lib/languages/http";
import nginx from "highlight.js/lib/languages/nginx";
import powershell from "highlight.js/lib/languages/powershell";
import protobuf from "highlight.js/lib/languages/protobuf";
import scala from "highlight.js/lib/languages/scala";
import { common, createLowlight } from "lowlight";

const lowlight = createLowlight({
  ...common,
  dart,
  dockerfile,
  elixir,
  haskell,
  http,
  nginx,
  powershell,
  protobuf,
  scala,
});
lowlight.registerAlias({
  bash: ["console", "zsh"],
  javascript: ["jsonc", "json5"],
  typescript: ["mts", "cts"],
});

/** A run of code in one colour; an empty class name for plain code. */
export interface Span {
  readonly text: string;
  readonly className: string;
}

/** Returns the lines of a program in runs of one colour; null for a language that is not known. */
export function highlight(code: string, language: string): readonly (readonly Span[])[] | null {
  if (!lowlight.registered(language)) return null;
  const lines: Span[][] = [[]];
  type Child = ReturnType<typeof lowlight.highlight>["children"][number];
  const walk = (nodes: readonly Child[], className: string) => {
    for (const node of nodes) {
      if (node.type === "element")
        walk(node.children as Child[], `${node.properties.className ?? ""}`.replaceAll(",", " "));
      if (node.type !== "text") continue;
      for (const [index, text] of node.value.split("\n").entries()) {
        if (index > 0) lines.push([]);
        if (text !== "") lines.at(-1)?.push({ text, className });
      }
    }
  };
  walk(lowlight.highlight(language, code).children, "");
  return lines;
}
