import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defaultClientConditions, defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";
import { budgets, onlyWoff2 } from "./build.ts";

const gateway = process.env.GATEWAY_URL ?? "http://127.0.0.1:8000";
const push = new URL(process.env.PUSH_URL ?? "ws://127.0.0.1:8001/ws").origin;

export default defineConfig({
  plugins: [react(), tailwindcss(), onlyWoff2(), budgets()],
  // Relative to the <base> of index.html, so that one build serves under any path.
  base: "./",
  // The client library from its sources: nothing to build first, and it reloads as it is written.
  resolve: { conditions: ["parley-source", ...defaultClientConditions] },
  // For the tests that run without a browser.
  ssr: { resolve: { conditions: ["parley-source", ...defaultServerConditions] } },
  build: {
    target: "es2022",
    // The page is served under a strict policy: nothing inline, not even a small asset as a data URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 3000,
    rolldownOptions: { input: ["index.html", "diagram.html"] },
  },
  server: {
    proxy: {
      // The Host stays as the browser sent it: both compare it with the page's origin.
      "/v1": { target: gateway },
      "/ws": { target: push, ws: true },
    },
  },
  test: {
    name: "page",
    include: ["tests/**/*.test.{ts,tsx}"],
    environment: "node",
  },
});
