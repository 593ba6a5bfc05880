// Packs a picture of the browser again without loss: pages of text are smaller without row filters.
// Pure: bytes in, bytes out. Never: changes a pixel; what is not 8 bits RGB without interlacing stays as it is.

import { deflateSync, inflateSync } from "node:zlib";

const HEAD = 8;
const RGB = 2;
const BYTES = 3;

export function packed(png) {
  const parts = chunks(png);
  const header = parts.find(({ type }) => type === "IHDR").data;
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  if (header[8] !== 8 || header[9] !== RGB || header[12] !== 0) return png;
  const data = Buffer.concat(parts.filter(({ type }) => type === "IDAT").map((part) => part.data));
  const rows = unfiltered(inflateSync(data), width * BYTES, height);
  const kept = ["IHDR", "IDAT", "IEND"].map((type) =>
    chunk(type, type === "IDAT" ? deflateSync(rows, { level: 9, memLevel: 9 }) : type === "IHDR" ? header : Buffer.alloc(0)),
  );
  const smaller = Buffer.concat([png.subarray(0, HEAD), ...kept]);
  return smaller.length < png.length ? smaller : png;
}

function chunks(png) {
  const found = [];
  for (let at = HEAD; at < png.length; ) {
    const length = png.readUInt32BE(at);
    found.push({ type: png.toString("latin1", at + 4, at + 8), data: png.subarray(at + 8, at + 8 + length) });
    at += length + 12;
  }
  return found;
}

/** Every row with filter 0 (PNG specification, section 9). */
function unfiltered(raw, stride, height) {
  const out = Buffer.alloc((stride + 1) * height);
  for (let row = 0; row < height; row += 1) {
    const from = row * (stride + 1);
    const at = (x) => (x < 0 ? 0 : out[from + 1 + x]);
    const above = (x) => (row === 0 || x < 0 ? 0 : out[from - stride + x]);
    for (let x = 0; x < stride; x += 1) {
      const [left, up, corner] = [at(x - BYTES), above(x), above(x - BYTES)];
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][raw[from]];
      out[from + 1 + x] = (raw[from + 1 + x] + guess) & 255;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [left, up, corner].map((value) => Math.abs(guess - value));
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc(body));
  return Buffer.concat([length, body, sum]);
}

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  }
  return (value ^ 0xffffffff) >>> 0;
}
