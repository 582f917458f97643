// One fuzz case: a call of one RPC on one port, with a token or none, where the message, its frame or its headers may be
// hostile.

import { gzipSync } from 'node:zlib'
import { ROLES, type Role } from '../../../src/domain/access.ts'
import { ADMIN_SERVICES, PUBLIC_SERVICES, type Method, type MethodPath } from '../../../src/grpc/method.ts'
import { PERMISSIONS } from '../../../src/grpc/permission.ts'
import type { Dice } from './dice.ts'
import { CANARY, hostileTextOf } from './hostile.ts'
import { makeRequest, REQUESTS, type World } from './message.ts'
import { framed } from './wire.ts'

export type Port = 'public' | 'admin'
type Target = { port: Port; method: Method; path: MethodPath }

export type FuzzCall = {
  port: Port
  method: Method
  /** What is odd about it: `message` where only the message may be. */
  kind: string
  role: Role | 'none' | 'broken'
  headers: Record<string, string>
  body: Buffer
}

const targetsOf = (port: Port, services: Readonly<Record<string, Readonly<Record<string, Method>>>>): Target[] =>
  Object.values(services)
    .flatMap((service) => Object.values(service))
    .map((method) => ({ port, method, path: method.path as MethodPath }))

/** Every RPC of both ports. */
export const TARGETS = [...targetsOf('public', PUBLIC_SERVICES), ...targetsOf('admin', ADMIN_SERVICES)] as [
  Target,
  ...Target[],
]

const ALL_ROLES = ROLES as unknown as [Role, ...Role[]]
const DEADLINE = '10S'
/** A watch has no other end. */
const STREAM_DEADLINES = ['20m', '50m'] as const

export function makeCall(dice: Dice, world: World, tokens: Readonly<Record<Role, string>>): FuzzCall {
  const { port, method, path } = dice.pick(TARGETS)
  const request = REQUESTS.get(path)
  if (request === undefined) throw new Error(`the descriptors have no ${path}`)
  const message = makeRequest(dice, world, request)
  const role = roleFor(dice, path)
  const headers: Record<string, string> = {
    ':method': 'POST',
    ':path': path,
    ':scheme': 'http',
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': method.responseStream ? dice.pick(STREAM_DEADLINES) : DEADLINE,
  }
  if (role === 'broken') headers['authorization'] = `Bearer ${breakToken(dice, tokens[dice.pick(ALL_ROLES)])}`
  else if (role !== 'none') headers['authorization'] = `Bearer ${tokens[role]}`
  const call = { port, method, role, headers, kind: 'message', body: framed(message) }
  if (dice.isLucky(0.06)) return { ...call, ...oddFrame(dice, message, headers) }
  if (dice.isLucky(0.06)) return { ...call, ...oddHeaders(dice, headers) }
  return call
}

/** Mostly a role that the method allows, or nothing behind the guard would be reached. */
function roleFor(dice: Dice, path: MethodPath): FuzzCall['role'] {
  const permission = PERMISSIONS[path]
  const luck = dice.int(100)
  if (luck < 4) return 'none'
  if (luck < 8) return 'broken'
  const isAny = permission === 'anonymous' || luck < 16
  const [first, ...others] = ROLES.filter((role) => isAny || Object.hasOwn(permission.roles, role))
  return first === undefined ? 'none' : dice.pick([first, ...others])
}

function breakToken(dice: Dice, token: string): string {
  const at = dice.int(token.length)
  const other = token[at] === 'A' ? 'B' : 'A'
  return dice.pick([
    // The last character of a signature has bits that no decoder reads.
    `${token.slice(0, Math.min(at, token.length - 2))}${other}${token.slice(Math.min(at, token.length - 2) + 1)}`,
    token.slice(0, at),
    `${token}.${CANARY}`,
    token.replaceAll('.', ''),
    `${token.split('.')[0]}..`,
    CANARY,
  ])
}

type Odd = Pick<FuzzCall, 'kind'> & Partial<Pick<FuzzCall, 'headers' | 'body'>>

const BOMB = gzipSync(Buffer.alloc(5_000_000))

function oddFrame(dice: Dice, message: Buffer, headers: Record<string, string>): Odd {
  const encoded = { ...headers, 'grpc-encoding': 'gzip' }
  return dice.pick<() => Odd>([
    () => ({ kind: 'frame: compressed without an encoding', body: framed(message, { flag: 1 }) }),
    () => ({ kind: 'frame: unknown flag', body: framed(message, { flag: 2 + dice.int(254) }) }),
    () => ({ kind: 'frame: claims more', body: framed(message, { length: message.length + 1 + dice.int(2 ** 31) }) }),
    () => ({ kind: 'frame: claims less', body: framed(message, { length: dice.int(message.length + 1) }) }),
    () => ({ kind: 'frame: two messages', body: Buffer.concat([framed(message), framed(message)]) }),
    () => ({ kind: 'frame: none', body: Buffer.alloc(0) }),
    () => ({ kind: 'frame: cut', body: framed(message).subarray(0, dice.int(6)) }),
    () => ({ kind: 'frame: too large', body: framed(Buffer.concat([message, Buffer.alloc(70_000)])) }),
    () => ({ kind: 'frame: gzip', headers: encoded, body: framed(gzipSync(message), { flag: 1 }) }),
    () => ({ kind: 'frame: broken gzip', headers: encoded, body: framed(dice.bytes(40), { flag: 1 }) }),
    () => ({ kind: 'frame: gzip bomb', headers: encoded, body: framed(BOMB, { flag: 1 }) }),
  ])()
}

/** No CR, LF or NUL: HTTP/2 has no such header, and Node sends none. */
const headerText = (dice: Dice): string =>
  hostileTextOf(dice)
    .toString('latin1')
    .replaceAll(/[\0\r\n]/g, ' ')
    .slice(0, 3_000)

function oddHeaders(dice: Dice, headers: Record<string, string>): Odd {
  const withOne = (name: string, value: string): Odd => ({
    kind: `header: ${name}`,
    headers: { ...headers, [name]: value },
  })
  return dice.pick<() => Odd>([
    () => withOne('grpc-timeout', dice.pick(['abc', '', '-1S', '1', '99999999999S', '0n', '1H', CANARY, '5 S'])),
    () => withOne('content-type', dice.pick(['application/json', '', 'text/html', 'application/grpc+json', CANARY])),
    () => withOne('grpc-encoding', dice.pick(['br', 'identity', 'deflate', '', CANARY])),
    () => withOne('grpc-accept-encoding', headerText(dice)),
    () =>
      withOne(
        ':path',
        dice.pick(['/', '', '//', `${headers[':path']}/`, `/${CANARY}/x`, '/__proto__/constructor', '*']),
      ),
    () => withOne(':method', dice.pick(['GET', 'PUT', 'OPTIONS', CANARY])),
    () => withOne('authorization', dice.pick(['', 'Bearer', 'Bearer ', `Basic ${CANARY}`, headerText(dice)])),
    () => withOne('x-request-id', headerText(dice)),
    () => withOne('x-forwarded-for', headerText(dice)),
    () => withOne('user-agent', headerText(dice)),
    () => withOne('x-any-bin', dice.pick(['!!!', '====', CANARY, 'AAAA,BBBB', headerText(dice)])),
    () => withOne('grpc-status-details-bin', headerText(dice)),
    () => withOne('x-padding', 'p'.repeat(dice.pick([7_000, 8_300, 20_000, 60_000]))),
    () => withOne('expect', '100-continue'),
  ])()
}
