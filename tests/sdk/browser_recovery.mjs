// The published JavaScript client in Chromium against a running edge: the same as node_recovery.mjs, but in
// a page, with the browser's own WebSocket. `--drop-every N` closes that socket under the client.
// Reads: CHROMIUM_BIN. Says `ready` on stderr once the page is connected for the first time, and `dropped`
// at every break.
//
//   node browser_recovery.mjs --url ws://127.0.0.1:8000/connection/websocket --token <jwt> --count 1000
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';

const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    token: { type: 'string' },
    count: { type: 'string', default: '1000' },
    'drop-every': { type: 'string', default: '0' },
    'timeout-seconds': { type: 'string', default: '120' },
  },
});
const library = readFileSync(new URL('./node_modules/centrifuge/dist/centrifuge.js', import.meta.url));
const server = createServer((request, response) => {
  const script = request.url === '/centrifuge.js';
  response.setHeader('Content-Type', script ? 'text/javascript' : 'text/html');
  response.end(script ? library : '<!doctype html><title>t</title><script src="/centrifuge.js"></script>');
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_BIN || '/usr/bin/chromium',
  args: [
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--host-resolver-rules=MAP 127.0.0.1 127.0.0.1, MAP * ~NOTFOUND',
  ],
});
const page = await browser.newPage();
await page.exposeFunction('say', (word) => process.stderr.write(`${word}\n`));
await page.goto(`http://127.0.0.1:${server.address().port}/`);

const report = await page.evaluate(
  ({ url, token, count, dropEvery, timeoutMs }) =>
    new Promise((resolve) => {
      let socket;
      class Tracked extends WebSocket {
        constructor(...args) {
          super(...args);
          socket = this;
        }
      }
      const report = { sdk: 'centrifuge-js in chromium', data: [], offsets: [], connects: 0, recovered: [], errors: [] };
      const client = new Centrifuge(url, { token, websocket: Tracked, minReconnectDelay: 20, maxReconnectDelay: 200 });
      const finish = () => resolve(report);
      setTimeout(() => {
        report.errors.push('timeout');
        finish();
      }, timeoutMs);
      client.on('connected', () => {
        report.connects += 1;
        if (report.connects === 1) globalThis.say('ready');
      });
      client.on('subscribed', (context) => {
        if (context.wasRecovering) report.recovered.push(context.recovered);
      });
      client.on('error', (context) => report.errors.push(`${context.type} ${context.error.code}`));
      client.on('disconnected', (context) => {
        report.errors.push(`disconnected ${context.code} ${context.reason}`);
        finish();
      });
      client.on('publication', (context) => {
        report.data.push(context.data);
        report.offsets.push(context.offset);
        if (report.data.length === count) {
          // A moment more, so that a message delivered twice would show.
          setTimeout(finish, 300);
        } else if (dropEvery > 0 && report.data.length % dropEvery === 0) {
          socket.close();
          globalThis.say('dropped');
        }
      });
      client.connect();
    }),
  {
    url: values.url,
    token: values.token,
    count: Number(values.count),
    dropEvery: Number(values['drop-every']),
    timeoutMs: Number(values['timeout-seconds']) * 1000,
  },
);
await browser.close();
server.close();
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(report.data.length === Number(values.count) ? 0 : 1));
