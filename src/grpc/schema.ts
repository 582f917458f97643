// The schema of each method's request. Objects are strict: a proto field without a rule here is rejected.

import { z } from 'zod'
import { MAX_LINES } from '../domain/stock.ts'
import type { MethodPath } from './method.ts'
import {
  asset,
  expectedVersion,
  fiat,
  hasOnePosition,
  instant,
  lineQuantity,
  listOf,
  MAX_INT64,
  ONE_POSITION,
  page,
  productId,
  shippingAddress,
  userId,
  uuid,
  whole,
  whole64,
  wordOrAny,
} from './field.ts'
import { orderStatus } from './enum.ts'
import { PAYMENT_ADMIN_SCHEMAS } from './payment_admin_schema.ts'
import { REFUND_SCHEMAS } from './refund_schema.ts'
import { text } from './text.ts'

const MAX_PRODUCTS_PER_QUESTION = 100
const MAX_NAME_CHARACTERS = 200
const MAX_REASON_CHARACTERS = 200
const MAX_DELTA = 1_000_000_000n
const MAX_ON_HAND = 1_000_000_000_000n
const MAX_SIGNATURES = 4
const MAX_NOTIFICATIONS = 1_000
/** `v1,` and base64. Which algorithm it is of shows only when it is verified. */
const SIGNATURE_SHAPE = /^[A-Za-z0-9+/=,]{1,128}$/
/** A full name of a service; empty: the whole server. */
const SERVICE_SHAPE = /^[A-Za-z0-9._]{0,128}$/

const command = z.strictObject({ idempotencyKey: uuid, orderId: uuid, expectedVersion })

const newLine = z.strictObject({ productId, quantity: lineQuantity, expectedUnitPrice: fiat })

const health = z.strictObject({
  service: z
    .string()
    .regex(SERVICE_SHAPE, 'must be the full name of a service: letters, digits, dots and underscores, at most 128'),
})

/** Names of files and types; the library's clients send the host that they called. */
const MAX_SYMBOL_CHARACTERS = 512
const symbol = z
  .string()
  .max(MAX_SYMBOL_CHARACTERS, `must have at most ${MAX_SYMBOL_CHARACTERS} characters`)
  .regex(/^[!-~]*$/, 'must be ASCII characters without spaces')
const MAX_FIELD_NUMBER = 2 ** 29 - 1
const reflectionQuestion = z.strictObject({
  host: symbol,
  messageRequest: z.discriminatedUnion(
    '$case',
    [
      z.strictObject({ $case: z.literal('fileByFilename'), value: symbol }),
      z.strictObject({ $case: z.literal('fileContainingSymbol'), value: symbol }),
      z.strictObject({
        $case: z.literal('fileContainingExtension'),
        value: z.strictObject({
          containingType: symbol,
          extensionNumber: whole(0, MAX_FIELD_NUMBER),
        }),
      }),
      z.strictObject({ $case: z.literal('allExtensionNumbersOfType'), value: symbol }),
      z.strictObject({ $case: z.literal('listServices'), value: symbol }),
    ],
    {
      error:
        'must be given: file_by_filename, file_containing_symbol, file_containing_extension, all_extension_numbers_of_type or list_services',
    },
  ),
})

export const SCHEMAS = {
  '/grpc.health.v1.Health/Check': health,
  '/grpc.health.v1.Health/Watch': health,
  '/grpc.health.v1.Health/List': z.strictObject({}),

  '/holdfast.v1.OrderService/CreateOrder': z.strictObject({
    idempotencyKey: uuid,
    userId,
    lines: listOf(newLine, MAX_LINES),
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
    signatures: listOf(
      z.string().regex(SIGNATURE_SHAPE, 'must be `v1,` and a signature in base64, at most 128 characters'),
      MAX_SIGNATURES,
    ),
  }),

  '/holdfast.v1.StockService/GetAvailability': z.strictObject({
    productIds: listOf(productId, MAX_PRODUCTS_PER_QUESTION),
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
      notificationIds: listOf(whole64(1n, MAX_INT64), MAX_NOTIFICATIONS, { min: 0 }),
      all: z.boolean(),
    })
    .refine(({ notificationIds, all }) => all !== notificationIds.length > 0, {
      error: 'must be given, or `all: true`, and not both',
      path: ['notificationIds'],
    }),

  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': reflectionQuestion,
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': reflectionQuestion,

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
  ...PAYMENT_ADMIN_SCHEMAS,
  ...REFUND_SCHEMAS,
} as const satisfies Readonly<Record<MethodPath, z.ZodType>>

/** A validated request in the domain's types, as its handler sees it. */
export type Parsed<Path extends string> = Path extends MethodPath ? z.output<(typeof SCHEMAS)[Path]> : never
