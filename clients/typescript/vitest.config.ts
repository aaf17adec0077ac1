import { defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

export default defineConfig({
  ssr: { resolve: { conditions: ["parley-source", ...defaultServerConditions] } },
  test: { name: "client", include: ["tests/**/*.test.ts"], environment: "node" },
});
