// Builds dist/ from src/: the shop's page, self-contained. Reads src/, package-lock.json and the installed
// packages; writes dist/ only, or with --check a temporary folder that is compared with it.
// The same sources and lock file give the same bytes on every machine: no times, no paths.

import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
/** In the bundle; events is inlined in centrifuge's published build. */
const BUNDLED = ["centrifuge", "events"];
const BANNER = "/*! campana shop, Apache-2.0. Contains centrifuge and events, MIT: licenses.txt */";

async function licences() {
  const parts = await Promise.all(BUNDLED.map(async (name) => {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    return `${name} ${version} (${license})\n\n${(await readFile(join(folder, "LICENSE"), "utf8")).trim()}\n`;
  }));
  return `shop.js contains code of these packages.\n\n${parts.join(`\n${"-".repeat(72)}\n\n`)}`;
}

async function buildInto(folder) {
  await mkdir(folder, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: ["src/shop.ts", "src/shop.css"],
    outdir: folder,
    bundle: true,
    minify: true,
    charset: "utf8",
    format: "esm",
    target: ["es2022", "chrome123", "firefox125", "safari17.5"],
    legalComments: "none",
    banner: { js: BANNER },
    logLevel: "warning",
  });
  await writeFile(join(folder, "index.html"), await readFile(join(root, "src/index.html")));
  await writeFile(join(folder, "bell.svg"), await readFile(join(root, "src/bell.svg")));
  await writeFile(join(folder, "licenses.txt"), await licences());
}

async function differing(left, right) {
  const names = new Set([...(await readdir(left).catch(() => [])), ...(await readdir(right))]);
  const found = [];
  for (const name of [...names].sort()) {
    const [a, b] = await Promise.all([left, right].map((folder) => readFile(join(folder, name)).catch(() => null)));
    if (a === null || b === null || !a.equals(b)) found.push(name);
  }
  return found;
}

if (process.argv.includes("--check")) {
  const fresh = await mkdtemp(join(tmpdir(), "campana-shop-"));
  try {
    await buildInto(fresh);
    const found = await differing(dist, fresh);
    if (found.length > 0) console.error(`dist/ is not what the sources build: ${found.join(", ")}. Run: npm run build`);
    else console.log("dist/ is exactly what the sources build");
    process.exitCode = found.length > 0 ? 1 : 0;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
} else {
  await rm(dist, { recursive: true, force: true });
  await buildInto(dist);
  for (const name of (await readdir(dist)).sort()) console.log(`dist/${name}`);
}
