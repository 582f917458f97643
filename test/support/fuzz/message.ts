// Request messages made from the descriptors of proto/holdfast.binpb: valid ones, and ones with a few hostile parts.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createFileRegistry, fromBinary, ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { packReport } from '../../../src/grpc/report.ts'
import { signReport } from '../../../src/keyvault/signature.ts'
import { ROOT } from '../source.ts'
import type { Dice } from './dice.ts'
import { HOSTILE_INTEGERS, HOSTILE_NANOS, HOSTILE_SECONDS, hostileTextOf } from './hostile.ts'
import { anyField, bytesField, tag, varint, varintField, WIRE, type Wire } from './wire.ts'

const registry = createFileRegistry(
  fromBinary(FileDescriptorSetSchema, readFileSync(join(ROOT, 'proto/holdfast.binpb'))),
)

/** Every RPC of the descriptors with its request type, by path. */
export const REQUESTS: ReadonlyMap<string, DescMessage> = new Map(
  [...registry.files]
    .flatMap(({ services }) => services)
    .flatMap(({ typeName, methods }) => methods.map(({ name, input }) => [`/${typeName}/${name}`, input] as const)),
)
const REPORT = messageNamed('holdfast.v1.PaymentReport')

function messageNamed(name: string): DescMessage {
  const message = registry.getMessage(name)
  if (message === undefined) throw new Error(`there is no message ${name}`)
  return message
}

/** What the database holds that a request can name, and the secret of a registered source of reports. */
export type World = {
  orderIds: readonly [string, ...string[]]
  productIds: readonly [string, ...string[]]
  addresses: readonly [string, ...string[]]
  userId: number
  price: string
  source: string
  sourceSecret: Buffer
}

/** How hostile a message is: the probability that one of its fields is. */
type Making = { dice: Dice; world: World; hostility: number; depth: number }

const MAX_DEPTH = 6
const MAX_VALID_ENTRIES = 3
const MANY_ENTRIES = 300
/** Two bytes each, and each one an object. */
const FLOOD_ENTRIES = 25_000
/** Most messages are refused by their rules: a call that reaches the database costs ten of those. */
const HOSTILITIES = [0, 0.1, 0.3, 0.6, 0.9] as const
const BROKEN_BYTES = 0.12

/** The bytes of one request. */
export function makeRequest(dice: Dice, world: World, request: DescMessage): Buffer {
  const making: Making = { dice, world, hostility: dice.pick(HOSTILITIES), depth: 0 }
  const bytes =
    request.typeName === 'holdfast.v1.ReportPaymentsRequest' ? makeReportRequest(making) : makeMessage(making, request)
  return making.hostility > 0 && dice.isLucky(BROKEN_BYTES) ? breakBytes(dice, bytes) : bytes
}

function makeMessage(making: Making, message: DescMessage): Buffer {
  if (message.typeName === 'google.protobuf.Timestamp') return makeTimestamp(making)
  const { dice, hostility } = making
  const parts: Buffer[] = []
  for (const field of message.fields) {
    if (isHostile(making)) parts.push(...hostileParts(making, field))
    else if (isWanted(making, field)) parts.push(...validParts(making, field))
  }
  if (hostility > 0 && dice.isLucky(0.1)) parts.push(makeUnknown(dice))
  if (hostility > 0 && dice.isLucky(0.1)) parts.reverse()
  return Buffer.concat(parts)
}

const isHostile = ({ dice, hostility }: Making): boolean => hostility > 0 && dice.isLucky(hostility)

/** One member of a oneof; optional fields now and then; all others. */
function isWanted({ dice, hostility }: Making, field: DescField): boolean {
  // Of page positions only one may be given, and a cursor cannot be guessed.
  if (field.name === 'cursor' || field.name === 'all') return dice.isLucky(0.02)
  if (field.oneof !== undefined) return hostility === 0 ? field.oneof.fields[0] === field : dice.isLucky(0.5)
  if (field.proto.proto3Optional || field.fieldKind === 'message') return dice.isLucky(0.3)
  return true
}

function validParts(making: Making, field: DescField): Buffer[] {
  if (field.fieldKind !== 'list') return [validPart(making, field)]
  const entries = 1 + making.dice.int(MAX_VALID_ENTRIES)
  return Array.from({ length: entries }, () => validPart(making, field))
}

function validPart(making: Making, field: DescField): Buffer {
  if (field.message !== undefined) return messagePart(making, field, field.message)
  const value = validValue(making, field)
  if (typeof value === 'bigint') return varintField(field.number, value)
  return bytesField(field.number, Buffer.from(value))
}

const messagePart = (making: Making, field: DescField, message: DescMessage): Buffer =>
  making.depth >= MAX_DEPTH
    ? bytesField(field.number, Buffer.alloc(0))
    : bytesField(field.number, makeMessage({ ...making, depth: making.depth + 1 }, message))

/** A value that the field's rule accepts, by its name. */
function validValue({ dice, world }: Making, field: DescField): string | bigint {
  switch (field.name) {
    case 'idempotency_key':
    case 'id':
      return dice.uuid()
    case 'order_id':
      return dice.isLucky(0.7) ? dice.pick(world.orderIds) : dice.uuid()
    case 'product_id':
    case 'product_ids':
      return dice.pick(world.productIds)
    case 'user_id':
      return BigInt(world.userId + (dice.isLucky(0.1) ? 1 : 0))
    case 'expected_unit_price':
    case 'unit_price':
      return world.price
    case 'asset':
      return 'ETH'
    case 'source':
      return world.source
    case 'network':
      return 'ethereum'
    case 'address':
      return dice.pick(world.addresses)
    case 'tx_id':
    case 'block_hash':
      return `0x${dice.bytes(32).toString('hex')}`
    case 'report_id':
      return dice.bytes(32).toString('hex')
    case 'units':
      return String(1 + dice.int(1_000_000))
    case 'cursor':
      return dice.bytes(30).toString('base64url')
    case 'service':
      return dice.pick(['', 'holdfast.v1.OrderService', 'holdfast.v1.StockAdminService', 'none'])
    case 'on_hand':
      return 1_000_000n
  }
  if (field.enum !== undefined) return BigInt(dice.int(field.enum.values.length))
  if (field.scalar === ScalarType.BOOL) return 1n
  if (field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES)
    return dice.pick(['Quay 1', 'Zoë’s Tea & Co', '東京都 1-2-3'])
  return BigInt(1 + dice.int(3))
}

function hostileParts(making: Making, field: DescField): Buffer[] {
  const { dice } = making
  switch (dice.int(10)) {
    case 0:
      return []
    case 1:
      return [validPart(making, field), validPart(making, field)]
    case 2:
      return [anyField(field.number, dice.int(6) as Wire, dice.bytes(1 + dice.int(12)))]
    case 3:
      return [bytesField(field.number, dice.bytes(4), dice.pick(HOSTILE_INTEGERS))]
    case 4: {
      const entry = hostilePart(making, field)
      return entry.length > 100 ? [entry] : Array.from({ length: MANY_ENTRIES }, () => entry)
    }
    default:
      return [hostilePart(making, field)]
  }
}

function hostilePart(making: Making, field: DescField): Buffer {
  const { dice } = making
  if (field.message !== undefined)
    return dice.isLucky(0.3)
      ? bytesField(field.number, dice.bytes(dice.int(40)))
      : messagePart(making, field, field.message)
  if (field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES)
    return bytesField(field.number, hostileTextOf(dice))
  return varintField(field.number, dice.pick(HOSTILE_INTEGERS))
}

function makeTimestamp({ dice, hostility }: Making): Buffer {
  if (hostility === 0 || dice.isLucky(0.5))
    return varintField(1, BigInt(Math.floor(Date.now() / 1_000) - dice.int(100_000)))
  return Buffer.concat([varintField(1, dice.pick(HOSTILE_SECONDS)), varintField(2, dice.pick(HOSTILE_NANOS))])
}

/** What no proto declares: high and forbidden numbers, groups, fields that look like a prototype's. */
function makeUnknown(dice: Dice): Buffer {
  const number = dice.pick([15, 1_000, 19_000, 536_870_911, 0])
  switch (dice.int(4)) {
    case 0:
      return bytesField(number, Buffer.from('__proto__'))
    case 1:
      // A map entry as protobuf writes it: key 1, value 2.
      return bytesField(
        number,
        Buffer.concat([bytesField(1, Buffer.from('__proto__')), bytesField(2, Buffer.from('x'))]),
      )
    case 2:
      return Buffer.concat(Array.from({ length: dice.pick([5, 99, 101, 5_000]) }, () => tag(number, WIRE.startGroup)))
    default:
      return anyField(number, dice.int(6) as Wire, dice.bytes(8))
  }
}

/** Damage below the level of fields. */
function breakBytes(dice: Dice, bytes: Buffer): Buffer {
  switch (dice.int(12)) {
    case 0:
    case 6:
      return bytes.subarray(0, dice.int(bytes.length + 1))
    case 1:
    case 7:
    case 8: {
      const flipped = Buffer.from(bytes)
      for (let times = 1 + dice.int(8); times > 0 && flipped.length > 0; times -= 1) {
        const at = dice.int(flipped.length)
        flipped[at] = (flipped[at] ?? 0) ^ (1 << dice.int(8))
      }
      return flipped
    }
    case 2:
    case 9: {
      const at = dice.int(bytes.length + 1)
      return Buffer.concat([bytes.subarray(0, at), dice.bytes(1 + dice.int(16)), bytes.subarray(at)])
    }
    case 3:
    case 10:
      return dice.bytes(dice.int(200))
    case 4:
      return Buffer.concat([bytes, bytes])
    case 5:
      return Buffer.concat([bytes, tag(1 + dice.int(6), WIRE.varint), Buffer.alloc(12, 0xff)])
    default:
      return Buffer.alloc(2 * FLOOD_ENTRIES, Buffer.concat([tag(1 + dice.int(6), WIRE.bytes), varint(0n)]))
  }
}

/** The report itself is bytes that its source signs: most are signed, or no hostile one would ever be read. */
function makeReportRequest(making: Making): Buffer {
  const { dice, world, hostility } = making
  const report = hostility === 0 ? validReport(making) : makeMessage(making, REPORT)
  const id = dice.uuid()
  const timestampS = BigInt(Math.floor(Date.now() / 1_000))
  const signature = dice.isLucky(0.1)
    ? hostileTextOf(dice)
    : Buffer.from(signReport({ id, timestampS, report, secret: world.sourceSecret, algorithm: 'sha256' }))
  return Buffer.concat([
    bytesField(1, Buffer.from(id)),
    varintField(2, timestampS),
    bytesField(3, report),
    bytesField(4, signature),
    ...(hostility > 0 && dice.isLucky(0.1) ? [makeUnknown(dice)] : []),
  ])
}

function validReport({ dice, world }: Making): Buffer {
  const hash = (): string => `0x${dice.bytes(32).toString('hex')}`
  const observation = {
    network: 'ethereum',
    asset: 'ETH' as const,
    txId: hash(),
    outputIndex: dice.int(3),
    seq: 1,
    state: 'seen' as const,
    address: dice.pick(world.addresses),
    amount: BigInt(1 + dice.int(1_000_000)),
    block: { height: 1 + dice.int(1_000), hash: hash() },
    firstSeenAt: new Date(),
  }
  return packReport({ source: world.source, confirmations: 12 }, [observation]).report
}
