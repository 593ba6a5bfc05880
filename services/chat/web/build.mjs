// Builds dist/ from src/: the page, self-contained, and follower.js, the part of it that merges history and live
// messages, for other clients and tests. Reads src/, package-lock.json and the installed packages; writes dist/ only, or
// with --check a temporary folder that is compared with it.
// The same sources and lock file give the same bytes on every machine: no times, no paths.

import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
const BANNER = "/*! campana chat, Apache-2.0. Bundled packages and their licences: licenses.txt */";
/** In the published build of another package, so that the bundler cannot see it. */
const INLINED = { centrifuge: ["events"] };

async function buildInto(folder) {
  await mkdir(folder, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ["src/chat.ts", "src/follower.ts", "src/chat.css"],
    outdir: folder,
    bundle: true,
    // The bell is a folder of this repository, with packages of its own beside it; one copy of each is enough.
    preserveSymlinks: true,
    alias: { lit: "lit", centrifuge: "centrifuge" },
    minify: true,
    charset: "utf8",
    format: "esm",
    target: ["es2022", "chrome123", "firefox125", "safari17.5"],
    legalComments: "none",
    banner: { js: BANNER, css: BANNER },
    logLevel: "warning",
    metafile: true,
  });
  for (const name of ["chat.html", "icon.svg"]) await writeFile(join(folder, name), await readFile(join(root, "src", name)));
  await writeFile(join(folder, "licenses.txt"), await licences(Object.keys(metafile.inputs)));
}

async function licences(inputs) {
  const direct = inputs.map((input) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]).filter(Boolean);
  const names = [...new Set(direct.flatMap((name) => [name, ...(INLINED[name] ?? [])]))].sort();
  const parts = await Promise.all(names.map(async (name) => {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).sort().find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`package ${name} has no licence file`);
    return `${name} ${version} (${license})\n\n${(await readFile(join(folder, file), "utf8")).trim()}\n`;
  }));
  return `The files chat.js and follower.js contain code of these packages.\n\n${parts.join(`\n${"-".repeat(72)}\n\n`)}`;
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
  const fresh = await mkdtemp(join(tmpdir(), "campana-chat-"));
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
