import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The router serves the page at /d/{document id} and its files under /static/, for ever: their names carry a hash. */
export default defineConfig({
  root: here("./page"),
  base: "/static/",
  build: {
    outDir: here("../router/static"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
});
