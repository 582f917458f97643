// The permission matrix, generated from PERMISSIONS: every caller × every RPC × every object, against a front with both
// ports. What must come out is computed here from the objects themselves, not by the code under test.

import { randomUUID } from 'node:crypto'
import { Client, credentials, Metadata, status, type ServiceError } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { buildLine, putOrder, putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import {
  admin,
  auditor,
  createTestFront,
  customer,
  fulfilment,
  watcher,
  type Caller,
  type TestFront,
} from '../../test/support/front.ts'
import { PERMISSION_CASES, type PermissionCase, type PermissionTarget } from '../../test/support/permission_case.ts'
import { systemActor } from '../domain/audit.ts'
import type { OrderStatus } from '../domain/order.ts'
import { DETAILS_KEY, readDetails } from './detail.ts'
import { OrderServiceService, type Order } from './gen/holdfast/v1/order.ts'
import { PUBLIC_SERVICES, type Method, type MethodPath } from './method.ts'
import { PERMISSIONS, type Permission } from './permission.ts'

const OWNER = 7
const CALLERS: Readonly<Record<string, Caller | undefined>> = {
  anonymous: undefined,
  owner: customer(OWNER),
  'other customer': customer(9),
  fulfilment,
  admin,
  auditor,
  watcher,
  service: { role: 'service', subject: 'reporting' },
}
const PATHS = Object.keys(PERMISSION_CASES) as MethodPath[]
/** A call that the table allows must not wait for Temporal, which is not here. */
const ENGINE_WITHIN_MS = 100

/** `status` is undefined for an object that does not exist. */
type Planted = PermissionTarget & { name: string; status: OrderStatus | undefined }

let database: TestDatabase
let front: TestFront
let product: TestProduct
let targets: readonly Planted[]
let clients: { public: Client; admin: Client }

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 100)
  front = await createTestFront(database, { engineWithinMs: ENGINE_WITHIN_MS, deps: { isRunning: async () => true } })
  product = await putProduct(database, { onHand: 10_000n })
  targets = [
    await plant('own, pending', OWNER, 'pending'),
    await plant('own, processing', OWNER, 'processing'),
    await plant('foreign, pending', 8, 'pending'),
    await plant('foreign, processing', 8, 'processing'),
    { name: 'missing', orderId: randomUUID(), userId: 999n, source: 'watcher-9', status: undefined },
  ]
  const open = (address: string) => new Client(address, credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 })
  clients = { public: open(front.address), admin: open(front.adminAddress) }
})
afterAll(async () => {
  clients.public.close()
  clients.admin.close()
  await front.stop()
  await database.drop()
})

/** An order of a customer; in the part of the source, watcher-1 has the role of the owner. */
async function plant(name: string, userId: number, wanted: 'pending' | 'processing'): Promise<Planted> {
  const lines = [buildLine({ productId: product.productId })]
  const { orderId } = await putOrder(database, { userId: BigInt(userId), lines })
  if (wanted === 'processing')
    await database.writeAs(
      'app_worker',
      systemActor('worker'),
      `update orders set status = 'processing', payment_state = 'paid' where order_id = $1`,
      [orderId],
    )
  return { name, orderId, userId: BigInt(userId), source: userId === OWNER ? 'watcher-1' : 'watcher-2', status: wanted }
}

type Answer = {
  /** OK, or the reason of the failure. */
  outcome: string
  /** Everything that reaches the caller. */
  wire: string
  message: Buffer | undefined
}

const isPublic = (method: Method): boolean =>
  Object.values(PUBLIC_SERVICES).some((service) => Object.values<Method>(service).includes(method))
const same = (bytes: Buffer): Buffer => bytes

/** One call. The request id is always the same, so that equal answers are equal to the byte. */
async function probe(
  tokenOf: string | undefined,
  { method, bodyOf }: PermissionCase,
  target: Planted,
): Promise<Answer> {
  const metadata = new Metadata()
  metadata.set('x-request-id', 'matrix')
  if (tokenOf !== undefined) metadata.set('authorization', `Bearer ${tokenOf}`)
  const client = isPublic(method) ? clients.public : clients.admin
  const body = bodyOf(target, { product, sign: front.sign })
  return new Promise((resolve) => {
    let headers = new Metadata()
    const finish = (error: ServiceError | null, message?: Buffer): void =>
      resolve({
        outcome: outcomeOf(error),
        wire: JSON.stringify([
          ...[status[error?.code ?? status.OK], error?.details, wireOf(headers), wireOf(error?.metadata)],
          message?.toString('base64'),
        ]),
        message,
      })
    const call = method.responseStream
      ? client.makeServerStreamRequest(method.path, same, same, body, metadata)
      : client.makeUnaryRequest(method.path, same, same, body, metadata, finish)
    call.on('metadata', (first: Metadata) => (headers = first))
    if (method.responseStream)
      call
        .on('data', (message: Buffer) => {
          finish(null, message)
          call.cancel()
        })
        .on('error', (error: ServiceError) => finish(error))
  })
}

function outcomeOf(error: ServiceError | null): string {
  if (error === null) return 'OK'
  const { reason } = readDetails(error.metadata)
  return reason === '' ? `${status[error.code]} without a reason` : reason
}

const wireOf = (metadata = new Metadata()): unknown[] => [
  Object.entries(metadata.getMap()).filter(([name]) => name !== 'date' && name !== DETAILS_KEY),
  metadata.get(DETAILS_KEY).map(String),
]

/** Does the caller's role reach the object? By the objects' own facts. */
function isReached({ object, roles }: Permission, { role, subject }: Caller, target: Planted): boolean {
  const reach = roles[role]
  if (reach === undefined || reach === 'any') return reach === 'any'
  if (reach === 'shipping') return object === 'orders' || target.status === 'processing'
  return object === 'source' ? target.source === subject : String(target.userId) === subject
}

/** The outcome that the table says. */
function expectedOf(path: MethodPath, caller: Caller | undefined, target: Planted): string {
  const permission = PERMISSIONS[path]
  const { allowed } = PERMISSION_CASES[path]
  if (permission === 'anonymous') return allowed
  if (caller === undefined) return 'CREDENTIALS_INVALID'
  if (!isReached(permission, caller, target)) {
    const isOfOther = permission.object === 'source' && caller.role in permission.roles
    return isOfOther ? 'FIELD_INVALID' : 'PERMISSION_DENIED'
  }
  return permission.object === 'order' && target.status === undefined ? 'NOT_FOUND' : allowed
}

/** Answers of all cells of one RPC, in parallel. */
const rowsOf = async (path: MethodPath) =>
  Promise.all(
    Object.entries(CALLERS).flatMap(([name, caller]) =>
      targets.map(async (target) => ({
        cell: `${name}, ${target.name}`,
        expected: expectedOf(path, caller, target),
        answer: await probe(caller && (await front.tokenOf(caller)), PERMISSION_CASES[path], target),
      })),
    ),
  )

/** The bytes of each kind of refusal, over the whole matrix. */
const refusals = { PERMISSION_DENIED: new Set<string>(), CREDENTIALS_INVALID: new Set<string>() }

describe('the matrix of permissions', () => {
  test.each(PATHS)('%s answers each caller, about each object, as the table says', async (path) => {
    const rows = await rowsOf(path)
    expect(rows.map(({ cell, answer }) => [cell, answer.outcome])).toEqual(
      rows.map(({ cell, expected }) => [cell, expected]),
    )
    for (const [reason, wires] of Object.entries(refusals)) {
      for (const { answer } of rows.filter((row) => row.answer.outcome === reason)) wires.add(answer.wire)
    }
  })

  test('refuses foreign and missing objects, by every RPC, with the same bytes', () => {
    expect([...refusals.PERMISSION_DENIED]).toHaveLength(1)
    expect([...refusals.PERMISSION_DENIED].join()).toContain('This is not allowed.')
    expect([...refusals.CREDENTIALS_INVALID]).toHaveLength(1)
  })
})

describe('an order', () => {
  const WHOLE = [
    ...['state', 'userId', 'lines', 'total', 'currency', 'paymentRequest', 'received', 'paymentFlags'],
    ...['createdAt', 'updatedAt'],
  ] as const
  const PAYMENT: readonly string[] = ['paymentRequest', 'received', 'paymentFlags']
  const WITHOUT_PAYMENT = WHOLE.filter((field) => !PAYMENT.includes(field))
  const partsOf = (order: Order | undefined): string[] =>
    Object.entries(order ?? {}).flatMap(([field, value]) =>
      value === undefined || (Array.isArray(value) && value.length === 0) ? [] : [field],
    )

  test.each([
    ['owner', WHOLE],
    ['admin', WHOLE],
    ['auditor', WHOLE],
    ['fulfilment', WITHOUT_PAYMENT],
  ] as const)('has for %s the fields of the table, and no others', async (name, fields) => {
    const { orderId } = targets[1] ?? { orderId: '' }
    await database.writeAs(
      'app_worker',
      systemActor('worker'),
      `update orders set payment_flags = '{over}' where order_id = $1`,
      [orderId],
    )
    const { order } = await front.as(CALLERS[name] ?? admin).order.getOrder({ orderId })
    expect(partsOf(order)).toEqual(fields)
  })

  test('read by an admin or an auditor is in the log, with who read which', async () => {
    const { orderId } = targets[2] ?? { orderId: '' }
    for (const [caller, actor] of [
      [admin, 'user:1'],
      [auditor, 'user:3'],
    ] as const) {
      const before = front.logLines().length
      await front.as(caller).order.getOrder({ orderId })
      const lines = front
        .logLines()
        .slice(before)
        .map((line) => JSON.parse(line) as object)
      const method = OrderServiceService.getOrder.path
      expect(lines).toContainEqual(
        expect.objectContaining({ method, code: 'OK', actor, roles: [caller.role], orderId }),
      )
    }
  })
})
