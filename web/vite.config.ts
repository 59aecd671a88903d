import { copyFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import preact from "@preact/preset-vite";
import { defaultClientConditions, defineConfig, type Plugin } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const RUNTIME = ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.asyncify"];

/**
 * The runtime's WebAssembly is served as plain files beside the page. Bundled, its threads would start the page's own
 * script as their worker and hang for ever.
 */
function runtimeFiles(): Plugin {
  return {
    name: "segany-runtime-files",
    config() {
      const from = dirname(createRequire(import.meta.url).resolve("onnxruntime-web"));
      const to = join(here, "public", "ort");
      mkdirSync(to, { recursive: true });
      for (const name of RUNTIME) {
        for (const ending of ["mjs", "wasm"])
          copyFileSync(join(from, `${name}.${ending}`), join(to, `${name}.${ending}`));
      }
    },
  };
}

const isolated = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const service = process.env.SEGANY_SERVICE ?? "http://127.0.0.1:8000";

export default defineConfig({
  base: "./",
  plugins: [runtimeFiles(), preact()],
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  worker: { format: "es" },
  build: {
    outDir: process.env.SEGANY_PAGE_DIR ?? "../src/segany/service/page",
    emptyOutDir: true,
    target: "es2022",
    chunkSizeWarningLimit: 700,
  },
  server: { headers: isolated, proxy: { "/api": service } },
  preview: { headers: isolated },
});
