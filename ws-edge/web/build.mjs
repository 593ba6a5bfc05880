// Builds dist/ (for pages: self-contained) and lib/ (for bundlers: one module and its types for each
// source) from src/. Reads src/, package-lock.json and the installed packages; writes these two
// only, or with --check temporary folders that are compared with them byte for byte.
// The same sources and lock file give the same bytes on every machine: no times, no paths.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, version as esbuildVersion } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
const lib = join(root, "lib");
const check = process.argv.includes("--check");
const pack = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
const banner = `/*! campana-bell ${pack.version}, Apache-2.0. Bundled packages and their licences: licenses.txt */`;

/** Copied as they are: a page needs no bundler. */
const STATIC = ["demo/demo.html", "demo/bell.svg", "examples/examples.html"];

/** The page of examples is written as its reader would write it: against the published module. */
const AS_PUBLISHED = {
  name: "as-published",
  setup(build) {
    build.onResolve({ filter: /^campana-bell\/headless$/ }, () => ({ path: "/assets/headless.js", external: true }));
    build.onResolve({ filter: /\?raw$/ }, ({ path, resolveDir }) => ({ path: join(resolveDir, path.replace(/\?raw$/, "")), namespace: "raw" }));
    build.onLoad({ filter: /.*/, namespace: "raw" }, async ({ path }) => ({ contents: await readFile(path, "utf8"), loader: "text" }));
  },
};

const COMMON = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  charset: "utf8",
  target: ["es2022", "chrome123", "firefox125", "safari17.5"],
  legalComments: "none",
  metafile: true,
  write: true,
  logLevel: "warning",
};

async function buildInto(folder) {
  await mkdir(folder, { recursive: true });
  const script = { ...COMMON, format: "esm", banner: { js: banner } };
  const results = [
    await build({ ...script, entryPoints: ["src/campana-bell.ts"], outfile: join(folder, "campana-bell.js") }),
    await build({ ...script, entryPoints: ["src/headless.ts"], outfile: join(folder, "headless.js") }),
    await build({ ...script, entryPoints: ["src/demo/demo.ts"], outfile: join(folder, "demo.js") }),
    await build({ ...COMMON, entryPoints: ["src/demo/demo.css"], outfile: join(folder, "demo.css") }),
    await build({ ...script, entryPoints: ["src/examples/examples.ts"], outfile: join(folder, "examples.js"), plugins: [AS_PUBLISHED] }),
    await build({ ...COMMON, entryPoints: ["src/examples/examples.css"], outfile: join(folder, "examples.css") }),
  ];
  for (const path of STATIC) {
    await writeFile(join(folder, path.slice(path.lastIndexOf("/") + 1)), await readFile(join(root, "src", path)));
  }
  const packages = await bundledPackages(results.flatMap((result) => Object.keys(result.metafile.inputs)));
  await writeFile(join(folder, "licenses.txt"), licenceText(packages));
  await writeFile(join(folder, "manifest.json"), `${JSON.stringify(await manifest(folder, packages), null, 2)}\n`);
}

/** One module for each source, and its types: the compiler's own output. */
function compileInto(folder) {
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const run = spawnSync(process.execPath, [compiler, "-p", join(root, "tsconfig.lib.json"), "--outDir", folder], { stdio: "inherit" });
  if (run.status !== 0) throw new Error("the compiler refused the sources");
}

/** In the published build of another package, so that the bundler cannot see it. */
const INLINED = { centrifuge: ["events"] };

/** The npm packages whose code is in the bundles, with their licence files. */
async function bundledPackages(inputs) {
  const direct = inputs.map((input) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1]).filter(Boolean);
  const names = new Set(direct.flatMap((name) => [name, ...(INLINED[name] ?? [])]));
  return Promise.all([...names].sort().map(async (name) => {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).sort().find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`package ${name} has no licence file`);
    const own = inputs.filter((input) => input.startsWith(`node_modules/${name}/`)).sort();
    const notices = await Promise.all(own.map((input) => copyrightNotices(join(root, input))));
    const text = [await readFile(join(folder, file), "utf8"), ...new Set(notices.flat())].map((part) => part.trim()).join("\n\n");
    return { name, version, license, text };
  }));
}

/** Comments in a source file that must go where its code goes and that the minifier drops. */
async function copyrightNotices(path) {
  const comments = (await readFile(path, "utf8")).match(/\/\*[\s\S]*?\*\//g) ?? [];
  return comments.filter((comment) => /copyright/i.test(comment) && !/@license/.test(comment));
}

function licenceText(packages) {
  const parts = packages.map(({ name, version, license, text }) => `${name} ${version} (${license})\n\n${text.trim()}\n`);
  return `The files campana-bell.js, headless.js and demo.js contain code of these packages.\n\n${parts.join(`\n${"-".repeat(72)}\n\n`)}`;
}

async function manifest(folder, packages) {
  const sources = ["package-lock.json", "build.mjs", ...(await filesUnder(join(root, "src"))).map((path) => `src/${path}`)];
  const outputs = (await readdir(folder)).filter((name) => name !== "manifest.json").sort();
  return {
    schema_version: 1,
    name: pack.name,
    version: pack.version,
    license: pack.license,
    esbuild: esbuildVersion,
    packages: packages.map(({ name, version, license }) => ({ name, version, license })),
    sources: await digests(root, sources.sort()),
    outputs: await digests(folder, outputs),
  };
}

async function digests(folder, paths) {
  const entries = await Promise.all(paths.map(async (path) => {
    const bytes = await readFile(join(folder, path));
    return [path, createHash("sha256").update(bytes).digest("hex")];
  }));
  return Object.fromEntries(entries);
}

async function filesUnder(folder) {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

/** Names of files that differ or exist on one side only. */
async function differences(left, right) {
  const names = new Set([...(await filesUnder(left).catch(() => [])), ...(await filesUnder(right))]);
  const differing = [];
  for (const name of [...names].sort()) {
    const [a, b] = await Promise.all([left, right].map((folder) => readFile(join(folder, name)).catch(() => null)));
    if (a === null || b === null || !a.equals(b)) differing.push(name);
  }
  return differing;
}

/** Whether a folder is what the sources build; says so. */
async function isFresh(name, folder, make) {
  const fresh = await mkdtemp(join(tmpdir(), "campana-bell-"));
  try {
    await make(fresh);
    const differing = await differences(folder, fresh);
    if (differing.length > 0) console.error(`${name}/ is not what the sources build: ${differing.join(", ")}. Run: npm run build`);
    else console.log(`${name}/ is exactly what the sources build`);
    return differing.length === 0;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

if (check) {
  const fresh = [await isFresh("dist", dist, buildInto), await isFresh("lib", lib, compileInto)];
  if (fresh.includes(false)) process.exitCode = 1;
} else {
  for (const folder of [dist, lib]) await rm(folder, { recursive: true, force: true });
  await buildInto(dist);
  compileInto(lib);
  for (const name of (await readdir(dist)).sort()) console.log(`dist/${name}`);
  console.log(`lib/ with ${(await filesUnder(lib)).length} files`);
}
