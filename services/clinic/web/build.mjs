// Builds dist/ from src/: the clinic's page, self-contained, beside the finished bell. Reads src/, package-lock.json,
// the installed packages and the bell's own build; writes dist/ only, or with --check a temporary folder that is
// compared with it. The same sources and lock file give the same bytes on every machine: no times, no paths.

import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
/** As any page takes it: the self-contained module of the package `campana-bell`. */
const BELL = join(root, "../../../ws-edge/web/dist");
const BUNDLED = ["@lit/reactive-element", "centrifuge", "lit", "lit-element", "lit-html"];

/** The bell is a module of its own beside the page's, so that browsers keep it when only the page changes. */
const bell = {
  name: "campana-bell",
  setup(build) {
    build.onResolve({ filter: /^campana-bell$/ }, () => ({ path: "/assets/campana-bell.js", external: true }));
  },
};

async function buildInto(folder) {
  await mkdir(folder, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: ["src/clinic.ts", "src/clinic.css"],
    outdir: folder,
    bundle: true,
    minify: true,
    charset: "utf8",
    format: "esm",
    target: ["es2022", "chrome123", "firefox125", "safari17.5"],
    legalComments: "none",
    banner: { js: "/*! campana clinic, Apache-2.0. Bundled packages and their licences: licenses.txt */" },
    plugins: [bell],
    logLevel: "warning",
  });
  for (const name of ["clinic.html", "clinic.svg"]) await writeFile(join(folder, name), await readFile(join(root, "src", name)));
  await writeFile(join(folder, "campana-bell.js"), await readFile(join(BELL, "campana-bell.js")));
  await writeFile(join(folder, "licenses.txt"), await licences());
}

async function licences() {
  const parts = await Promise.all(BUNDLED.map(async (name) => {
    const home = join(root, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(home, "package.json"), "utf8"));
    const file = (await readdir(home)).sort().find((entry) => /^licen[cs]e/i.test(entry));
    return `${name} ${version} (${license})\n\n${(await readFile(join(home, file), "utf8")).trim()}\n`;
  }));
  const own = `clinic.js contains code of these packages.\n\n${parts.join(`\n${"-".repeat(72)}\n\n`)}`;
  return `${own}\n${"-".repeat(72)}\n\n${await readFile(join(BELL, "licenses.txt"), "utf8")}`;
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
  const fresh = await mkdtemp(join(tmpdir(), "campana-clinic-"));
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
