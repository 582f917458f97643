// What each method accepts. Strict objects: a field of a message without a rule here is refused, whoever forgot it.

import { z } from 'zod'
import { MACHINE_PATTERN, MACHINE_RULE, NETWORK_PATTERN, NETWORK_RULE } from '../domain/identifier.ts'
import { MAX_LINES } from '../domain/stock.ts'
import type { MethodPath } from './method.ts'
import { MAX_OBSERVATIONS } from './report.ts'
import {
  asset,
  expectedVersion,
  fiat,
  hasOnePosition,
  instant,
  MAX_INT64,
  ONE_POSITION,
  page,
  productId,
  quantity,
  shippingAddress,
  text,
  units,
  userId,
  uuid,
  whole,
  whole64,
  word,
  wordOrAny,
} from './field.ts'
import { orderStatus, transferState } from './enum.ts'

const MAX_PRODUCTS_PER_QUESTION = 100
const MAX_NAME_CHARACTERS = 200
const MAX_REASON_CHARACTERS = 200
const MAX_DELTA = 1_000_000_000n
const MAX_ON_HAND = 1_000_000_000_000n
const MAX_SIGNATURES = 4
const MAX_NOTIFICATIONS = 1_000
const MAX_SIGNATURE_CHARACTERS = 128

const command = z.strictObject({ idempotencyKey: uuid, orderId: uuid, expectedVersion })

const newLine = z.strictObject({ productId, quantity, expectedUnitPrice: fiat })

const health = z.strictObject({ service: z.string().max(128, 'must have at most 128 characters') })

/** The content of a report, once its signature was found right. */
export const PAYMENT_REPORT = z.strictObject({
  source: z.string().regex(MACHINE_PATTERN, MACHINE_RULE),
  network: z.string().regex(NETWORK_PATTERN, NETWORK_RULE),
  observations: z
    .array(
      z
        .strictObject({
          reportId: z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hexadecimal'),
          asset,
          txId: z.string(),
          outputIndex: whole(0),
          seq: whole(1),
          state: word(transferState),
          // Ethereum's are shown with a checksum in their letter case, and stored and matched without.
          address: z
            .string()
            .regex(/^[A-Za-z0-9]{1,128}$/, 'must be an address')
            .transform((address) => (address.startsWith('0x') ? address.toLowerCase() : address)),
          units,
          blockHeight: whole64(0n, MAX_INT64).optional(),
          blockHash: z
            .string()
            .regex(/^[A-Za-z0-9]{1,128}$/, 'must be a block hash')
            .optional(),
          depth: whole(0),
          firstSeenAt: instant,
        })
        .refine((fact) => TX_ID_SHAPES[fact.asset].test(fact.txId), {
          error: "must be in the asset's canonical form",
          path: ['txId'],
        })
        .refine((fact) => (fact.blockHeight === undefined) === (fact.blockHash === undefined), {
          error: 'must be given together with block_height',
          path: ['blockHash'],
        }),
    )
    .min(1, 'must not be empty')
    .max(MAX_OBSERVATIONS, `must have at most ${MAX_OBSERVATIONS} entries`),
})

/** One spelling per transaction, so that one transfer is one fact (requirements C-15). */
const HEX_TX_ID = /^[0-9a-f]{64}$/
const TX_ID_SHAPES = {
  BTC: HEX_TX_ID,
  LTC: HEX_TX_ID,
  ETH: /^0x[0-9a-f]{64}$/,
  SOL: /^[1-9A-HJ-NP-Za-km-z]{64,88}$/,
} as const

export const SCHEMAS = {
  '/grpc.health.v1.Health/Check': health,
  '/grpc.health.v1.Health/Watch': health,
  '/grpc.health.v1.Health/List': z.strictObject({}),

  '/holdfast.v1.OrderService/CreateOrder': z.strictObject({
    idempotencyKey: uuid,
    userId,
    lines: z.array(newLine).min(1, 'must not be empty').max(MAX_LINES, `must have at most ${MAX_LINES} entries`),
    asset,
    shippingAddress,
  }),
  '/holdfast.v1.OrderService/GetOrder': z.strictObject({ orderId: uuid, includeShippingAddress: z.boolean() }),
  '/holdfast.v1.OrderService/ListOrders': z
    .strictObject({
      ...page,
      status: wordOrAny(orderStatus),
      userId: userId.optional(),
      createdFrom: instant.optional(),
      createdBefore: instant.optional(),
    })
    .refine(hasOnePosition, ONE_POSITION),
  '/holdfast.v1.OrderService/CancelOrder': command,
  '/holdfast.v1.OrderService/UpdateShippingAddress': command.extend({ shippingAddress }),
  '/holdfast.v1.OrderService/WatchOrder': z.strictObject({
    orderId: uuid,
    afterVersion: whole64(0n, MAX_INT64).optional(),
  }),

  '/holdfast.v1.FulfilmentService/MarkShipped': command,
  '/holdfast.v1.FulfilmentService/MarkDelivered': command,
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': z.strictObject(page).refine(hasOnePosition, ONE_POSITION),

  '/holdfast.v1.PaymentService/ReportPayments': z.strictObject({
    id: uuid,
    timestampS: whole64(0n, MAX_INT64),
    report: z.instanceof(Uint8Array),
    signatures: z
      .array(z.string().max(MAX_SIGNATURE_CHARACTERS, 'must be a signature'))
      .min(1, 'must not be empty')
      .max(MAX_SIGNATURES, `must have at most ${MAX_SIGNATURES} entries`),
  }),

  '/holdfast.v1.StockService/GetAvailability': z.strictObject({
    productIds: z
      .array(productId)
      .min(1, 'must not be empty')
      .max(MAX_PRODUCTS_PER_QUESTION, `must have at most ${MAX_PRODUCTS_PER_QUESTION} entries`),
  }),
  '/holdfast.v1.CatalogService/GetProduct': z.strictObject({ productId }),
  '/holdfast.v1.CatalogService/ListProducts': z.strictObject(page).refine(hasOnePosition, ONE_POSITION),

  '/holdfast.v1.StockAdminService/AdjustStock': z
    .strictObject({
      idempotencyKey: uuid,
      productId,
      change: z.discriminatedUnion(
        '$case',
        [
          z.strictObject({
            $case: z.literal('delta'),
            value: whole64(-MAX_DELTA, MAX_DELTA).refine((delta) => delta !== 0n, 'must not be zero'),
          }),
          z.strictObject({ $case: z.literal('onHand'), value: whole64(0n, MAX_ON_HAND) }),
        ],
        { error: 'must be given: delta or on_hand' },
      ),
      reason: text(MAX_REASON_CHARACTERS),
      expectedVersion,
    })
    .refine(({ change, expectedVersion: version }) => change.$case === 'delta' || version !== undefined, {
      error: 'must be given with on_hand',
      path: ['expectedVersion'],
    }),
  '/holdfast.v1.CatalogAdminService/PutProduct': z.strictObject({
    idempotencyKey: uuid,
    productId,
    name: text(MAX_NAME_CHARACTERS),
    unitPrice: fiat,
    isActive: z.boolean(),
    expectedVersion: whole64(0n, BigInt(Number.MAX_SAFE_INTEGER)).transform(Number).optional(),
  }),

  '/holdfast.v1.AuditService/GetOrderHistory': z.strictObject({
    orderId: uuid,
    limit: page.limit,
    cursor: page.cursor,
  }),

  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': z.strictObject({
    limit: page.limit,
    cursor: page.cursor,
  }),
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': z
    .strictObject({
      idempotencyKey: uuid,
      notificationIds: z
        .array(whole64(1n, MAX_INT64))
        .max(MAX_NOTIFICATIONS, `must have at most ${MAX_NOTIFICATIONS} entries`),
      all: z.boolean(),
    })
    .refine(({ notificationIds, all }) => all !== notificationIds.length > 0, {
      error: 'must be given, or all, and not both',
      path: ['notificationIds'],
    }),

  '/holdfast.v1.OrderAdminService/RestartOrder': z.strictObject({
    idempotencyKey: uuid,
    orderId: uuid,
    reason: text(MAX_REASON_CHARACTERS),
  }),
  '/holdfast.v1.OrderAdminService/RehydrateOrders': z.strictObject({
    idempotencyKey: uuid,
    reason: text(MAX_REASON_CHARACTERS),
    limit: page.limit,
    cursor: page.cursor,
  }),
} as const satisfies Readonly<Record<MethodPath, z.ZodType>>

/** A request as its handler sees it: every rule held, in the domain's types. */
export type Parsed<Path extends string> = Path extends MethodPath ? z.output<(typeof SCHEMAS)[Path]> : never
