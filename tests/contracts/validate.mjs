// The official AsyncAPI parser over documents; prints what it found in each as JSON.
// Reads: a JSON list of documents from standard input. Writes: a list of
// {"errors": [...], "warnings": [...], "messages": [...], ...} to standard output.
// Never: fetches anything; a document that refers elsewhere is an error.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const parser = new Parser();

async function examine(text) {
  const { document, diagnostics } = await parser.parse(text);
  // Severities of the parser: 0 error, 1 warning, 2 information, 3 hint.
  const said = (severity) =>
    diagnostics
      .filter((one) => one.severity === severity)
      .map((one) => `${one.path.join(".")}: ${one.message} (${one.code})`);
  return {
    errors: said(0),
    warnings: said(1),
    version: document?.version() ?? null,
    operations: (document?.allOperations().all() ?? []).map((one) => [one.id(), one.action()]),
    messages: (document?.allMessages().all() ?? []).map((message) => ({
      name: message.name(),
      contentType: message.contentType(),
      type: message.headers()?.property("ce-type")?.json() ?? null,
      required: message.payload()?.required() ?? [],
    })),
  };
}

const reports = [];
for (const document of JSON.parse(readFileSync(0, "utf8"))) {
  reports.push(await examine(JSON.stringify(document)));
}
console.log(JSON.stringify(reports));
