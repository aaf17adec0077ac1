import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defaultClientConditions, defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";
import { budgets, onlyWoff2 } from "./build.ts";

const gateway = process.env.GATEWAY_URL ?? "http://127.0.0.1:8000";
const push = new URL(process.env.PUSH_URL ?? "ws://127.0.0.1:8001/ws").origin;

export default defineConfig({
  plugins: [react(), tailwindcss(), onlyWoff2(), budgets()],
  // Relative to the <base> of index.html, so that one build works under any base path.
  base: "./",
  // Import the client library from its sources, without a build, with live reload.
  resolve: { conditions: ["parley-source", ...defaultClientConditions] },
  // The same for tests in the node environment.
  ssr: { resolve: { conditions: ["parley-source", ...defaultServerConditions] } },
  build: {
    target: "es2022",
    // The Content-Security-Policy forbids inline content, including small assets as data URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 3000,
    rolldownOptions: { input: ["index.html", "diagram.html"] },
  },
  server: {
    proxy: {
      // The Host header is not changed: gateway and push compare it with the page's origin.
      "/v1": { target: gateway },
      "/openai": { target: gateway },
      "/ai-sdk": { target: gateway },
      "/ag-ui": { target: gateway },
      "/ws": { target: push, ws: true },
    },
  },
  test: {
    name: "page",
    include: ["tests/**/*.test.{ts,tsx}"],
    environment: "node",
  },
});
