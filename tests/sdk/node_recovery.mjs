// The published JavaScript client against a running edge: connects, lets the server subscribe its personal
// channel, collects `--count` publications and prints one line of JSON: what came, in the order it came.
// With `--drop-every N` it breaks its own connection without a word after every N publications; with
// `--protobuf` it speaks Protobuf instead of JSON.
// Says `ready` on stderr once it is connected for the first time, and `dropped` at every break.
//
//   node node_recovery.mjs --url ws://127.0.0.1:8000/connection/websocket --token <jwt> --count 1000
import { parseArgs } from 'node:util';
import WebSocket from 'ws';

const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    token: { type: 'string' },
    count: { type: 'string', default: '1000' },
    'drop-every': { type: 'string', default: '0' },
    protobuf: { type: 'boolean', default: false },
    'timeout-seconds': { type: 'string', default: '120' },
  },
});
const { Centrifuge } = await import(values.protobuf ? 'centrifuge/build/protobuf' : 'centrifuge');
// Payloads are bytes in Protobuf and values in JSON.
const decode = (data) => (values.protobuf ? JSON.parse(new TextDecoder().decode(data)) : data);
const count = Number(values.count);
const dropEvery = Number(values['drop-every']);

let socket;
class Tracked extends WebSocket {
  constructor(...args) {
    super(...args);
    socket = this;
  }
}

const report = { sdk: 'centrifuge-js', data: [], offsets: [], connects: 0, recovered: [], errors: [] };
const client = new Centrifuge(values.url, {
  token: values.token,
  websocket: Tracked,
  minReconnectDelay: 20,
  maxReconnectDelay: 200,
});

const finish = (code) => {
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(code));
};
const timer = setTimeout(() => {
  report.errors.push('timeout');
  finish(1);
}, Number(values['timeout-seconds']) * 1000);

client.on('connected', () => {
  report.connects += 1;
  if (socket.protocol !== (values.protobuf ? 'centrifuge-protobuf' : '')) {
    report.errors.push(`the subprotocol is ${socket.protocol}`);
    finish(1);
  }
  if (report.connects === 1) process.stderr.write('ready\n');
});
client.on('subscribed', (context) => {
  if (context.wasRecovering) report.recovered.push(context.recovered);
});
client.on('error', (context) => report.errors.push(`${context.type} ${context.error.code}`));
client.on('disconnected', (context) => {
  if (report.data.length < count) {
    report.errors.push(`disconnected ${context.code} ${context.reason}`);
    finish(1);
  }
});
client.on('publication', (context) => {
  report.data.push(decode(context.data));
  report.offsets.push(context.offset);
  if (report.data.length === count) {
    // A moment more, so that a message delivered twice would show.
    setTimeout(() => {
      clearTimeout(timer);
      client.disconnect();
      finish(0);
    }, 300);
  } else if (dropEvery > 0 && report.data.length % dropEvery === 0) {
    socket.terminate();
    process.stderr.write('dropped\n');
  }
});
client.connect();
