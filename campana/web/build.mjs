// Builds dist/ from src/: the page that draws dashboards and the landing page, each self-contained. Reads src/, package-lock.json and
// the installed packages; writes dist/ only, or with --check a temporary folder that is compared with it.
// The same sources and lock file give the same bytes on every machine: no times, no paths.

import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
const licence = await readFile(join(root, "node_modules/uplot/LICENSE"), "utf8");
const { version } = JSON.parse(await readFile(join(root, "node_modules/uplot/package.json"), "utf8"));

const PAGES = [
  ["src/dashboards", "/*! campana dashboards, Apache-2.0. Contains uPlot, MIT: licenses.txt */"],
  ["src/landing/landing", "/*! campana landing page, Apache-2.0 */"],
];

async function buildInto(folder) {
  await mkdir(folder, { recursive: true });
  for (const [page, banner] of PAGES) {
    await build({
      absWorkingDir: root,
      entryPoints: [`${page}.ts`, `${page}.css`],
      outdir: folder,
      bundle: true,
      minify: true,
      charset: "utf8",
      format: "esm",
      target: ["es2022", "chrome123", "firefox125", "safari17.5"],
      legalComments: "none",
      banner: { js: banner, css: banner },
      logLevel: "warning",
    });
    await writeFile(join(folder, `${basename(page)}.html`), await readFile(join(root, `${page}.html`)));
  }
  await writeFile(join(folder, "licenses.txt"), `dashboards.js and dashboards.css contain code of uplot ${version} (MIT)\n\n${licence.trim()}\n`);
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
  const fresh = await mkdtemp(join(tmpdir(), "campana-dashboards-"));
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
