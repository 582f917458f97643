import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, failureOf, type Caller, type TestFront } from '../../test/support/front.ts'
import type { CreateOrderRequest } from './gen/holdfast/v1/order.ts'

const USER = 7
const nowS = (): number => Math.floor(Date.now() / 1_000)
/** Old by more than the clock moves during a test; a sign-in that is recent enough by as much. */
const OLD_S = 310
const RECENT_S = 200

let database: TestDatabase
let front: TestFront
let tea: TestProduct
let cent: TestProduct

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 50)
  front = await createTestFront(database)
  tea = await putProduct(database, { onHand: 1_000n, unitPrice: '99.99' })
  cent = await putProduct(database, { onHand: 1_000n, unitPrice: '0.01' })
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

const lineOf = ({ productId, unitPrice }: TestProduct, quantity: number) => ({
  productId,
  quantity,
  expectedUnitPrice: unitPrice,
})
/** 10 × 99.99 + so many cents: nine are just below the threshold of 1,000.00, ten are at it. */
const buildRequest = (cents: number, overrides: Partial<CreateOrderRequest> = {}): CreateOrderRequest => ({
  idempotencyKey: randomUUID(),
  userId: BigInt(USER),
  lines: [lineOf(tea, 10), lineOf(cent, cents)],
  asset: 'ETH',
  shippingAddress: 'Quay 1',
  ...overrides,
})
const signedIn = (how: Pick<Caller, 'amr' | 'authTimeS'>): Caller => ({ ...customer(USER), ...how })
const create = (how: Pick<Caller, 'amr' | 'authTimeS'>, request: CreateOrderRequest) =>
  front.as(signedIn(how)).order.createOrder(request)
const stored = async (): Promise<unknown> =>
  (
    await database.query(
      'select (select count(*) from orders) as orders, (select count(*) from idempotency) as answers',
    )
  )[0]

describe('an order of 1,000.00 and more', () => {
  test.each<[string, Pick<Caller, 'amr' | 'authTimeS'>]>([
    ['no method at all', { amr: [] }],
    ['a password alone', { amr: ['pwd'] }],
    ['a second factor alone', { amr: ['otp'] }],
    ['a second factor that is old', { amr: ['pwd', 'otp'], authTimeS: nowS() - OLD_S }],
  ])('needs a recent second factor: with %s it is refused, and nothing is stored', async (_case, how) => {
    const before = await stored()
    expect(await failureOf(create(how, buildRequest(10)))).toMatchObject({
      reason: 'STEP_UP_REQUIRED',
      kind: 'wrong_state',
      message: 'This needs a recent sign-in with a second factor. Sign in, then repeat.',
      metadata: { acr: 'mfa', max_age: '300' },
    })
    expect(await stored()).toEqual(before)
    expect((await create(how, buildRequest(9))).total).toBe('999.99')
  })

  test('is accepted with one', async () => {
    expect((await create({ amr: ['pwd', 'otp'] }, buildRequest(10))).total).toBe('1000.00')
    expect((await create({ amr: ['mfa'], authTimeS: nowS() - RECENT_S }, buildRequest(10))).total).toBe('1000.00')
  })

  test('cannot pass for a cheaper one by the prices it expects', async () => {
    const lines = [{ ...lineOf(tea, 10), expectedUnitPrice: '1.00' }]
    expect((await failureOf(create({ amr: ['pwd'] }, buildRequest(0, { lines })))).reason).toBe('PRICE_CHANGED')
  })

  test('that was accepted is answered again, however its caller signed in', async () => {
    const request = buildRequest(10)
    const first = await create({ amr: ['pwd', 'otp'] }, request)
    expect(await create({ amr: ['pwd'] }, request)).toEqual(first)
    const other = { ...request, shippingAddress: 'Quay 2' }
    expect((await failureOf(create({ amr: ['pwd'] }, other))).reason).toBe('IDEMPOTENCY_KEY_REUSED')
  })
})
