// Raw HTTP/2 that no client library would send: broken frames, frames out of order, floods. One play per connection.

import { connect, type Socket } from 'node:net'
import type { Dice } from './dice.ts'
import { CANARY } from './hostile.ts'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const TYPE = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
} as const
const END_STREAM = 0x1
const END_HEADERS = 0x4
const ACK = 0x1
const FLOOD_FRAMES = 300
const MAX_PAYLOAD = 2_000
/** How long the server may take to close before we do. */
const LISTEN_MS = 30

function frame(type: number, flags: number, stream: number, payload: Buffer, length = payload.length): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(length & 0xffffff, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream >>> 0, 5)
  return Buffer.concat([head, payload])
}

const SETTINGS = frame(TYPE.settings, 0, 0, Buffer.alloc(0))
const OPENING = Buffer.concat([PREFACE, SETTINGS])
const repeated = (times: number, of: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: times }, (_, index) => of(index)))

/** A header that HPACK neither indexes nor compresses. */
function field(name: string, value: string): Buffer {
  const text = (bytes: Buffer): Buffer => Buffer.concat([lengthOf(bytes.length), bytes])
  return Buffer.concat([Buffer.from([0]), text(Buffer.from(name, 'latin1')), text(Buffer.from(value, 'latin1'))])
}

/** HPACK's integer with a prefix of seven bits. */
function lengthOf(length: number): Buffer {
  if (length < 127) return Buffer.from([length])
  const out = [127]
  let rest = length - 127
  for (; rest >= 128; rest >>= 7) out.push((rest & 127) | 128)
  return Buffer.from([...out, rest])
}

const GRPC: readonly (readonly [string, string])[] = [
  [':method', 'POST'],
  [':scheme', 'http'],
  [':path', '/holdfast.v1.OrderService/GetOrder'],
  [':authority', 'x'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
]
const block = (headers: readonly (readonly [string, string])[]): Buffer =>
  Buffer.concat(headers.map(([name, value]) => field(name, value)))
const GRPC_BLOCK = block(GRPC)
const opened = (stream: number, flags = END_HEADERS): Buffer => frame(TYPE.headers, flags, stream, GRPC_BLOCK)
const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

function randomFrame(dice: Dice): Buffer {
  const payload = dice.bytes(dice.int(dice.isLucky(0.1) ? MAX_PAYLOAD : 40))
  const length = dice.isLucky(0.2) ? dice.int(2 ** 24) : payload.length
  return frame(
    dice.int(dice.isLucky(0.9) ? 10 : 256),
    dice.int(256),
    dice.pick([0, 1, 2, 3, 5, 2 ** 31 - 1, 2 ** 32 - 1]),
    payload,
    length,
  )
}

/** A list of headers that HTTP/2 or gRPC forbids. */
function forbiddenHeaders(dice: Dice): Buffer {
  return dice.pick<() => Buffer>([
    () => block([...GRPC, [':method', 'POST']]),
    () => block(GRPC.slice(1 + dice.int(3))),
    () => block([['te', 'trailers'], ...GRPC]),
    () => block([...GRPC, ['Upper-Case', 'x']]),
    () => block([...GRPC, ['connection', 'close']]),
    () => block([...GRPC, ['transfer-encoding', 'chunked']]),
    () => block([...GRPC, ['content-length', dice.pick(['-1', '0', '99999999999', 'x'])]]),
    () => block([...GRPC, [':unknown', CANARY]]),
    () => block([...GRPC, ['', CANARY]]),
    () => block([...GRPC, ['x-raw', `\r\n\0\u{ff}${CANARY}`]]),
    () => block([...GRPC, ['authorization', 'Bearer a'], ['authorization', 'Bearer b']]),
    () => block([...GRPC, ...Array.from({ length: 200 }, (_, index) => [`x-${index}`, CANARY] as const)]),
    () => block([...GRPC, ['grpc-timeout', '1S'], ['grpc-timeout', CANARY]]),
  ])()
}

/** Bytes that HPACK cannot decode: an index beyond the tables, a table too large, a text longer than its block. */
const brokenHpack = (dice: Dice): Buffer =>
  dice.pick<() => Buffer>([
    () => Buffer.from('ffffffff0f', 'hex'),
    () => Buffer.from('3fffffff7f', 'hex'),
    () => Buffer.from('007fffffff7f', 'hex'),
    () => Buffer.from('80', 'hex'),
    () => Buffer.from('0083ffffff83ffffff', 'hex'),
    () => Buffer.concat([GRPC_BLOCK, dice.bytes(1 + dice.int(30))]),
    () => dice.bytes(dice.int(200)),
  ])()

/** What is sent on one connection, by name. */
const PLAYS: readonly [Play, ...Play[]] = [
  (dice) => dice.bytes(dice.int(500)),
  (dice) => Buffer.concat([PREFACE.subarray(0, dice.int(PREFACE.length)), dice.bytes(dice.int(100))]),
  () => Buffer.from(`GET / HTTP/1.1\r\nhost: ${CANARY}\r\nupgrade: h2c\r\n\r\n`),
  (dice) => Buffer.concat([PREFACE, dice.bytes(dice.int(500))]),
  (dice) => Buffer.concat([OPENING, repeated(1 + dice.int(20), () => randomFrame(dice))]),
  (dice) => Buffer.concat([OPENING, opened(1), repeated(1 + dice.int(20), () => randomFrame(dice))]),
  (dice) => Buffer.concat([OPENING, frame(TYPE.headers, END_HEADERS, 1, brokenHpack(dice))]),
  (dice) => Buffer.concat([OPENING, frame(TYPE.headers, END_HEADERS | END_STREAM, 1, forbiddenHeaders(dice))]),
  // Out of order.
  (dice) =>
    Buffer.concat([
      OPENING,
      frame(dice.pick([TYPE.data, TYPE.continuation, TYPE.reset, TYPE.window]), 0, 1, uint32(0)),
    ]),
  () => Buffer.concat([OPENING, opened(5), opened(3), opened(2)]),
  (dice) => Buffer.concat([OPENING, frame(TYPE.push, END_HEADERS, 1, dice.bytes(20))]),
  (dice) => Buffer.concat([OPENING, opened(1, 0), frame(TYPE.data, 0, 1, dice.bytes(10))]),
  (dice) =>
    Buffer.concat([OPENING, opened(1, END_HEADERS | END_STREAM), frame(TYPE.data, 0, 1, dice.bytes(10)), opened(1)]),
  // Wrong sizes and values of single frames.
  (dice) => Buffer.concat([OPENING, frame(TYPE.settings, ACK, 0, dice.bytes(6))]),
  (dice) => Buffer.concat([OPENING, frame(TYPE.settings, 0, dice.int(2), dice.bytes(6 * dice.int(30) + dice.int(2)))]),
  (dice) =>
    Buffer.concat([OPENING, opened(1), frame(TYPE.window, 0, dice.int(2), uint32(dice.pick([0, 2 ** 31 - 1])))]),
  (dice) => Buffer.concat([OPENING, frame(TYPE.ping, 0, dice.int(2), dice.bytes(dice.int(16)))]),
  (dice) => Buffer.concat([OPENING, frame(TYPE.goaway, 0, 0, dice.bytes(dice.int(20))), opened(1)]),
  (dice) => Buffer.concat([OPENING, frame(TYPE.headers, 0xff, 1, Buffer.concat([Buffer.from([255]), dice.bytes(10)]))]),
  // Half frames: the connection ends within one.
  (dice) => OPENING.subarray(0, dice.int(OPENING.length)),
  (dice) => Buffer.concat([OPENING, opened(1).subarray(0, dice.int(60))]),
  () => Buffer.concat([OPENING, opened(1), frame(TYPE.data, 0, 1, Buffer.alloc(3), 2 ** 24 - 1)]),
  // Small floods.
  () =>
    Buffer.concat([
      OPENING,
      opened(1, 0),
      repeated(FLOOD_FRAMES, () => frame(TYPE.continuation, 0, 1, field('x', CANARY))),
    ]),
  () =>
    Buffer.concat([
      OPENING,
      opened(1, 0),
      repeated(FLOOD_FRAMES, () => frame(TYPE.continuation, 0, 1, Buffer.alloc(0))),
    ]),
  () =>
    Buffer.concat([
      OPENING,
      repeated(FLOOD_FRAMES, (index) =>
        Buffer.concat([opened(2 * index + 1), frame(TYPE.reset, 0, 2 * index + 1, uint32(8))]),
      ),
    ]),
  () => Buffer.concat([OPENING, repeated(FLOOD_FRAMES, (index) => opened(2 * index + 1))]),
  () => Buffer.concat([OPENING, repeated(FLOOD_FRAMES, () => SETTINGS)]),
  () => Buffer.concat([OPENING, repeated(FLOOD_FRAMES, () => frame(TYPE.ping, 0, 0, Buffer.alloc(8)))]),
  () => Buffer.concat([OPENING, opened(1), repeated(FLOOD_FRAMES, () => frame(TYPE.window, 0, 1, uint32(1)))]),
  () => Buffer.concat([OPENING, opened(1), repeated(FLOOD_FRAMES, () => frame(TYPE.data, 0, 1, Buffer.alloc(0)))]),
  () => Buffer.concat([OPENING, opened(1), repeated(FLOOD_FRAMES, () => frame(TYPE.data, 0, 1, Buffer.alloc(1)))]),
  () => Buffer.concat([OPENING, opened(1), repeated(FLOOD_FRAMES, () => frame(TYPE.priority, 0, 1, Buffer.alloc(5)))]),
]
type Play = (dice: Dice) => Buffer

/** Plays one connection. @returns what the server said, as far as it came within moments */
export function playGarbage(dice: Dice, address: string): Promise<Buffer> {
  const [host, port] = address.split(':')
  const bytes = dice.pick(PLAYS)(dice)
  return new Promise((resolve) => {
    const heard: Buffer[] = []
    const socket: Socket = connect(Number(port), host)
    const timer = setTimeout(() => socket.destroy(), LISTEN_MS)
    // A server that hangs up on garbage is right.
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => heard.push(chunk))
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(heard))
    })
    socket.write(bytes)
    if (dice.isLucky(0.3)) socket.end()
  })
}
