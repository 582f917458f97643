import { describe, expect, test } from '@jest/globals'
import { DomainError } from '../domain/failure.ts'
import { NewOrderLine } from './gen/holdfast/v1/order.ts'
import { PaymentObservation, PaymentReport } from './gen/holdfast/v1/payment.ts'
import { METHODS, type MethodPath } from './method.ts'
import { PAYMENT_REPORT } from './report.ts'
import { SCHEMAS } from './schema.ts'
import { parseMessage } from './validate.ts'

const UUID = '0b5c7c1e-6d5e-4a57-9d0e-2f2f1f0c8a11'
const CREATE = '/holdfast.v1.OrderService/CreateOrder'
const LIST = '/holdfast.v1.OrderService/ListOrders'
const ADJUST = '/holdfast.v1.StockAdminService/AdjustStock'
const PUT = '/holdfast.v1.CatalogAdminService/PutProduct'

const line = { productId: 'tea-1', quantity: 1, expectedUnitPrice: '12.50' }
const VALID = {
  [CREATE]: {
    idempotencyKey: UUID,
    userId: 7n,
    lines: [line],
    asset: 'ETH',
    shippingAddress: 'Harbour Street 1\nAntwerp',
  },
  [LIST]: {
    limit: 10,
    offset: 0,
    cursor: '',
    status: 0,
    userId: undefined,
    createdFrom: undefined,
    createdBefore: undefined,
  },
  [ADJUST]: {
    idempotencyKey: UUID,
    productId: 'tea-1',
    change: { $case: 'delta', value: 5n },
    reason: 'recount',
    expectedVersion: undefined,
  },
  [PUT]: {
    idempotencyKey: UUID,
    productId: 'tea-1',
    name: 'Tea',
    unitPrice: '12.50',
    isActive: true,
    expectedVersion: undefined,
  },
} as const
type Path = keyof typeof VALID

/** The fields that break a rule, each once. */
function brokenBy(path: Path, change: Record<string, unknown>): string[] {
  try {
    parseMessage(SCHEMAS[path], { ...VALID[path], ...change })
    return []
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    expect(error.reason).toBe('FIELD_INVALID')
    return [...new Set(error.violations.map(({ field }) => field))]
  }
}

describe('every method', () => {
  test.each(METHODS.map((method) => [method.path, method] as const))(
    '%s has a rule for each of its fields',
    (path, method) => {
      const empty = method.requestDeserialize(Buffer.alloc(0))
      const result = SCHEMAS[path as MethodPath].safeParse(empty)
      const unruled = result.error?.issues.filter(({ code }) => code === 'unrecognized_keys') ?? []
      expect(unruled).toEqual([])
    },
  )

  test('has rules for what its messages hold too', () => {
    const order = { ...VALID[CREATE], lines: [NewOrderLine.create()] }
    const report = { ...PaymentReport.create(), observations: [PaymentObservation.create()] }
    const issues = [SCHEMAS[CREATE].safeParse(order), PAYMENT_REPORT.safeParse(report)].flatMap(
      ({ error }) => error?.issues ?? [],
    )
    expect(issues.length).toBeGreaterThan(0)
    expect(issues.filter(({ code }) => code === 'unrecognized_keys')).toEqual([])
  })

  test.each(Object.keys(VALID) as Path[])('%s accepts its builder', (path) => {
    expect(brokenBy(path, {})).toEqual([])
  })
})

describe('CreateOrder', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['no idempotency key', { idempotencyKey: '' }, 'idempotency_key'],
    ['a key in capitals, which would be another spelling', { idempotencyKey: UUID.toUpperCase() }, 'idempotency_key'],
    ['user 0', { userId: 0n }, 'user_id'],
    ['a negative user', { userId: -1n }, 'user_id'],
    ['a user beyond 63 bits', { userId: 2n ** 63n }, 'user_id'],
    ['no lines', { lines: [] }, 'lines'],
    ['101 lines', { lines: Array.from({ length: 101 }, () => line) }, 'lines'],
    ['a quantity of 0', { lines: [{ ...line, quantity: 0 }] }, 'lines[0].quantity'],
    ['a negative quantity', { lines: [line, { ...line, quantity: -1 }] }, 'lines[1].quantity'],
    ['a quantity of 1001', { lines: [{ ...line, quantity: 1_001 }] }, 'lines[0].quantity'],
    ['a negative price', { lines: [{ ...line, expectedUnitPrice: '-1' }] }, 'lines[0].expected_unit_price'],
    [
      'a price with three decimals',
      { lines: [{ ...line, expectedUnitPrice: '1.234' }] },
      'lines[0].expected_unit_price',
    ],
    ['a price with an exponent', { lines: [{ ...line, expectedUnitPrice: '1e3' }] }, 'lines[0].expected_unit_price'],
    ['a product id with a slash', { lines: [{ ...line, productId: 'a/b' }] }, 'lines[0].product_id'],
    ['an empty product id', { lines: [{ ...line, productId: '' }] }, 'lines[0].product_id'],
    ['an unknown asset', { asset: 'DOGE' }, 'asset'],
    ['no address', { shippingAddress: '' }, 'shipping_address'],
    ['an address of 501 characters', { shippingAddress: 'ä'.repeat(501) }, 'shipping_address'],
    ['an address of tags alone', { shippingAddress: '<b></b>' }, 'shipping_address'],
    ['an address with a null character', { shippingAddress: 'a\u0000b' }, 'shipping_address'],
    ['an address that was not UTF-8', { shippingAddress: 'a\ufffdb' }, 'shipping_address'],
    ['an address that reorders text', { shippingAddress: 'a\u202eb' }, 'shipping_address'],
    ['an address that is not in NFC', { shippingAddress: 'a\u0308' }, 'shipping_address'],
  ])('refuses %s and names the field', (_name, change, field) => {
    expect(brokenBy(CREATE, change)).toEqual([field])
  })

  test.each<[string, Record<string, unknown>]>([
    ['100 lines', { lines: Array.from({ length: 100 }, () => line) }],
    ['a quantity of 1000', { lines: [{ ...line, quantity: 1_000 }] }],
    ['a price of 0', { lines: [{ ...line, expectedUnitPrice: '0' }] }],
    ['the largest user', { userId: 2n ** 63n - 1n }],
    ['500 characters outside the basic plane', { shippingAddress: '𝔥'.repeat(500) }],
  ])('accepts %s', (_name, change) => {
    expect(brokenBy(CREATE, change)).toEqual([])
  })

  test('reads prices as minor units', () => {
    expect(parseMessage(SCHEMAS[CREATE], VALID[CREATE]).lines).toEqual([
      { productId: 'tea-1', quantity: 1, expectedUnitPrice: 1_250n },
    ])
  })

  test.each([
    ['Main <b>Street</b> 1', 'Main Street 1'],
    ['<script>alert(1)</script>Quay 2', 'alert(1)Quay 2'],
    ['<scr<script>ipt>Quay 2', 'Quay 2'],
    ['<<b>script>Quay 2', 'Quay 2'],
    ['&lt;script&gt;Quay 2', 'scriptQuay 2'],
    ['&&lt;lt;b&#62;Quay 2', 'bQuay 2'],
    ['5 < 6 Street', '5 < 6 Street'],
    ['AT&T Way 3', 'AT&T Way 3'],
    ['  Quay 2\nGhent ', 'Quay 2\nGhent'],
  ])('stores the address %j as %j', (given, stored) => {
    expect(parseMessage(SCHEMAS[CREATE], { ...VALID[CREATE], shippingAddress: given }).shippingAddress).toBe(stored)
  })

  test('never repeats what it refuses', () => {
    const secret = 'SENTINEL-7f3a'
    try {
      parseMessage(SCHEMAS[CREATE], {
        ...VALID[CREATE],
        asset: secret,
        idempotencyKey: secret,
        shippingAddress: `${secret}\u0000`,
      })
    } catch (error) {
      expect(JSON.stringify((error as DomainError).violations) + (error as Error).message).not.toContain(secret)
    }
    expect.assertions(1)
  })
})

describe('ListOrders', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['a limit of 0', { limit: 0 }, 'limit'],
    ['a negative limit', { limit: -1 }, 'limit'],
    ['a limit of 101', { limit: 101 }, 'limit'],
    ['a negative offset', { offset: -1 }, 'offset'],
    ['an offset of 10001', { offset: 10_001 }, 'offset'],
    ['an offset beside a cursor', { offset: 1, cursor: 'abc' }, 'offset'],
    ['a status that does not exist', { status: 99 }, 'status'],
    ['a status that JSON could not read', { status: -1 }, 'status'],
    ['a time out of range', { createdFrom: new Date(Number.NaN) }, 'created_from'],
    ['a cursor with a space', { cursor: 'a b' }, 'cursor'],
  ])('refuses %s', (_name, change, field) => {
    expect(brokenBy(LIST, change)).toEqual([field])
  })

  test('has defaults for what is absent', () => {
    const parsed = parseMessage(SCHEMAS[LIST], { ...VALID[LIST], limit: undefined, offset: undefined })
    expect(parsed).toMatchObject({ limit: 20, offset: 0, status: undefined })
  })

  test('reads statuses as words', () => {
    expect(parseMessage(SCHEMAS[LIST], { ...VALID[LIST], status: 2 }).status).toBe('processing')
  })
})

describe('AdjustStock', () => {
  test('without a change is told which ones there are', () => {
    const parse = () => parseMessage(SCHEMAS[ADJUST], { ...VALID[ADJUST], change: undefined })
    const violations = [{ field: 'change', description: 'must be given: delta or on_hand' }]
    expect(parse).toThrow(expect.objectContaining({ reason: 'FIELD_INVALID', violations }))
  })

  test.each<[string, Record<string, unknown>, string]>([
    ['no change', { change: undefined }, 'change'],
    ['a change by nothing', { change: { $case: 'delta', value: 0n } }, 'change'],
    ['a change out of range', { change: { $case: 'delta', value: 1_000_000_001n } }, 'change'],
    ['a negative count', { change: { $case: 'onHand', value: -1n }, expectedVersion: 1n }, 'change'],
    ['a count without the version it replaces', { change: { $case: 'onHand', value: 5n } }, 'expected_version'],
    ['a reason of two lines', { reason: 'a\nb' }, 'reason'],
    ['no reason', { reason: '' }, 'reason'],
  ])('refuses %s', (_name, change, field) => {
    expect(brokenBy(ADJUST, change)).toEqual([field])
  })
})

describe('PutProduct', () => {
  test.each<[string, Record<string, unknown>, string]>([
    ['a name of 201 characters', { name: 'n'.repeat(201) }, 'name'],
    ['a price of 13 digits', { unitPrice: '1234567890123' }, 'unit_price'],
    ['a negative version', { expectedVersion: -1n }, 'expected_version'],
  ])('refuses %s', (_name, change, field) => {
    expect(brokenBy(PUT, change)).toEqual([field])
  })

  test('takes version 0 for "must be new"', () => {
    expect(parseMessage(SCHEMAS[PUT], { ...VALID[PUT], expectedVersion: 0n }).expectedVersion).toBe(0)
  })
})
