// The package as it would be published: what is in it, that its exports lead somewhere, and that a
// project which uses it compiles.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const ROOT = process.env["CAMPANA_BELL_ROOT"] ?? process.cwd();

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly private?: boolean;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

async function manifest(): Promise<Manifest> {
  return JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as Manifest;
}

function packed(): string[] {
  const run = spawnSync("npm", ["pack", "--dry-run", "--json", "--offline"], { cwd: ROOT, encoding: "utf8" });
  assert.equal(run.status, 0, run.stderr);
  const [pack] = JSON.parse(run.stdout) as { files: { path: string }[] }[];
  return (pack?.files ?? []).map(({ path }) => path).sort();
}

test("the package holds the modules, their types, the bundles, a README and the licence, and nothing else", async () => {
  const files = packed();
  const rest = files.filter((path) => !/^lib\/(words\/)?[a-z-]+\.(js|d\.ts)$/.test(path));
  assert.deepEqual(rest, ["LICENSE", "README.md", "dist/campana-bell.js", "dist/headless.js", "dist/licenses.txt", "package.json"]);
  const modules = files.filter((path) => path.endsWith(".js") && path.startsWith("lib/"));
  assert.ok(modules.includes("lib/campana-bell.js") && modules.includes("lib/headless.js"));
  for (const path of modules) assert.ok(files.includes(path.replace(/\.js$/, ".d.ts")), `${path} has types`);
});

test("every export leads to a file of the package, types first", async () => {
  const { exports, private: hidden, license } = await manifest();
  const files = packed();
  assert.deepEqual(Object.keys(exports), [".", "./headless", "./bundle", "./bundle/headless", "./package.json"]);
  for (const [name, target] of Object.entries(exports)) {
    const targets = typeof target === "string" ? { default: target } : target;
    if (name !== "./package.json") assert.equal(Object.keys(targets)[0], "types", name);
    for (const path of Object.values(targets)) assert.ok(files.includes(path.replace(/^\.\//, "")), `${name}: ${path}`);
  }
  assert.deepEqual([hidden, license], [undefined, "Apache-2.0"]);
});

test("the modules import each other and the declared dependencies only", async () => {
  const { dependencies } = await manifest();
  for (const path of packed().filter((name) => name.startsWith("lib/"))) {
    const text = await readFile(join(ROOT, path), "utf8");
    for (const [, from = ""] of text.matchAll(/(?:from|import) "([^"]+)"/g)) {
      const own = from.startsWith("./") || from.startsWith("../");
      const known = Object.keys(dependencies).some((name) => from === name || from.startsWith(`${name}/`));
      assert.ok(own || known, `${path} imports ${from}`);
    }
  }
});

test("the licence is the whole Apache licence", async () => {
  const text = await readFile(join(ROOT, "LICENSE"), "utf8");
  assert.match(text, /Apache License\s+Version 2\.0/);
  assert.ok(text.length > 10_000);
});

test("headless runs where there is no document", async () => {
  const { Inbox } = (await import(join(ROOT, "lib/headless.js"))) as typeof import("../src/headless.ts");
  const inbox = new Inbox({ endpoint: "ws://127.0.0.1:9/", user: "alice", sync: false });
  assert.deepEqual([inbox.snapshot.state, inbox.snapshot.channel], ["idle", "inbox:#alice"]);
});

const CONSUMER = `
import { CampanaBell } from "campana-bell";
import type { Labels, TabChoice } from "campana-bell";
import { Inbox } from "campana-bell/headless";
import type { Snapshot } from "campana-bell/headless";

const tabs: TabChoice[] = ["all", { id: "o", label: "Orders", category: "orders" }];
const bell = document.querySelector("campana-bell");
if (bell !== null) bell.tabs = tabs;
const words: Partial<Labels> = { title: "Post" };
bell?.addEventListener("campana-marked", ({ detail }) => console.log(detail.mark === "archive", words));
CampanaBell.addLanguage("pt", (plural) => ({ ...({} as Labels), more: (n) => plural(n, { other: "{n}" }) }));
const inbox = new Inbox({ endpoint: "wss://edge", getToken: async () => "t" });
const first: Snapshot = inbox.getSnapshot();
inbox.on("notification", ({ notification }) => notification.title.toUpperCase());
// @ts-expect-error: there is no such event
inbox.on("nothing", () => {});
export const stored: Promise<boolean> = inbox.archive(first.items.map(({ id }) => id));
`;

test("a strict TypeScript project that uses the package compiles, with and without a bundler", async () => {
  const folder = await mkdtemp(join(tmpdir(), "campana-bell-consumer-"));
  try {
    const modules = join(folder, "node_modules");
    await mkdir(join(modules, "campana-bell"), { recursive: true });
    for (const path of packed()) await cp(join(ROOT, path), join(modules, "campana-bell", path));
    for (const name of ["centrifuge", "lit", "lit-element", "lit-html", "@lit", "protobufjs", "long", "events"]) {
      await symlink(join(ROOT, "node_modules", name), join(modules, name));
    }
    await writeFile(join(folder, "package.json"), '{"type":"module"}');
    await writeFile(join(folder, "page.ts"), CONSUMER);
    for (const [module, moduleResolution] of [["esnext", "bundler"], ["nodenext", "nodenext"]]) {
      const compilerOptions = { target: "es2022", module, moduleResolution, lib: ["es2023", "dom"], strict: true, noEmit: true, types: [], skipLibCheck: false };
      await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["page.ts"] }));
      const run = spawnSync(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", folder], { encoding: "utf8" });
      assert.equal(run.status, 0, `${moduleResolution}:\n${run.stdout}${run.stderr}`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
