// OrderService: orders as customers see them. Each handler translates, checks the scope and delegates: the acceptor
// decides about a new order, the order's workflow about a command.

import { UUID_PATTERN } from '../domain/identifier.ts'
import { findVerdict, type Acceptor, type AcceptVerdict } from '../db/accept/accept.ts'
import type { Blindness } from '../db/chain/sight.ts'
import { changeAddress } from '../db/order.ts'
import type { Database } from '../db/connection/pool.ts'
import { findOrder, findSnapshot, listOrders } from '../db/read.ts'
import { hasRole } from '../domain/access.ts'
import { DomainError, RETRY_HINT_MS } from '../domain/failure.ts'
import { formatFiat } from '../domain/money.ts'
import { isTerminal, type ActorRole } from '../domain/order.ts'
import type { Asset, AssetPolicy } from '../domain/payment.ts'
import type { Rate, RateOutage } from '../domain/rate.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import type { Logger } from '../telemetry.ts'
import { auditActorOf, type Call } from './call.ts'
import { WATCH_MAX_MS } from './deadline.ts'
import { attemptOf, commandInputOf, findCommandAnswer, type Commander } from './command.ts'
import { commandMessage, createOrderResponse, orderMessage, stateMessage, summaryMessage } from './convert.ts'
import type { OrderServiceService } from './gen/holdfast/v1/order.ts'
import type { Handlers } from './handle.ts'
import { cutPage, pageOf } from './page.ts'
import { openAddress } from './personal_data.ts'
import { orderScopeOf, orderUnreachable, permissionDenied, reachesAllOrders, seesPart } from './permission.ts'
import { formerHashOf, personalHashOf, type PersonalHash } from './request_hash.ts'
import type { Quoting } from './quote.ts'
import type { Parsed } from './schema.ts'
import { assertSteppedUp } from './step_up.ts'
import { fieldInvalid } from './validate.ts'
import type { OrderWatch } from './watch.ts'

/** How the shop accepts an asset: the network and the policy. */
export type Offer = { network: string; policy: AssetPolicy }

export type OrderDeps = {
  database: Database
  /** The sessions of probes and money: a new order waits for no read. */
  priority: Pick<Database, 'run' | 'sql'>
  logger: Logger
  acceptor: Pick<Acceptor, 'accept'>
  command: Commander
  watch: OrderWatch
  shop: {
    currency: string
    windowMs: number
    offers: ReadonlyMap<Asset, Offer>
    /** The current rate, or when there may be one. Reads memory only. */
    rateOf: (asset: Asset) => Rate | RateOutage
    /** Minor units: an order of this total or more needs a recent second factor. */
    stepUpTotalMinor: bigint
  }
  /** The reason why payments in an asset would not be seen now; undefined if they would. */
  findBlindness: (asset: Asset) => Promise<Blindness | undefined>
  /** An unused address. Rejects with ADDRESS_POOL_EMPTY. */
  leaseAddress: (network: string, asset: Asset) => Promise<string>
  orderIdOf: (userId: bigint, key: string) => string
  cursors: CursorSeal
  /** Signs payment requests. */
  quoting: Quoting
  /** The link to an order's payment page; undefined where the shop has none. */
  payUrlOf?: (order: { orderId: string; createdAt: Date }) => string
  pii: {
    seal: (userId: bigint, orderId: string, text: string) => Promise<Buffer>
    open: (userId: bigint, orderId: string, sealed: Buffer) => Promise<string>
    hashRequest: PersonalHash
  }
  /** Is the start backlog full? Then no more orders are accepted. */
  isBacklogFull: () => Promise<boolean>
}

type CreateOrder = Parsed<'/holdfast.v1.OrderService/CreateOrder'>

export const createOrderHandlers = (deps: OrderDeps): Handlers<typeof OrderServiceService> => ({
  createOrder: async (request, call) => {
    if (request.userId !== call.principal.userId) throw permissionDenied()
    const verdict = await accept(deps, request, call)
    if (!('order' in verdict)) throw verdictError(verdict)
    call.record.orderId = verdict.order.orderId
    call.record.isReplay = verdict.verdict === 'replayed'
    return createOrderResponse(verdict.order, deps.quoting, deps.payUrlOf?.(verdict.order))
  },

  getOrder: async ({ orderId, includeShippingAddress }, call) => {
    const order = await findOrder(deps.database, orderId, orderScopeOf(call))
    if (order === undefined) throw orderUnreachable(call)
    const address = includeShippingAddress ? await openAddress(deps, order, call) : undefined
    const payment = seesPart(call.principal, 'payment', order) ? deps.quoting : undefined
    // The link needs no sign-in, so that only the owner may pass it on.
    const payUrl = order.userId === call.principal.userId ? deps.payUrlOf?.(order) : undefined
    return { order: orderMessage(order, payment, address, payUrl) }
  },

  listOrders: async ({ limit, offset, cursor, status, userId, createdFrom, createdBefore }, call) => {
    const isOwnOnly = !reachesAllOrders(call)
    if (isOwnOnly && userId !== undefined && userId !== call.principal.userId) throw permissionDenied()
    const reach = isOwnOnly ? { ownerId: call.principal.userId ?? null } : 'all owners'
    const filter = { status, userId, createdFrom, createdBefore }
    const listing = { cursors: deps.cursors, call, filter, idPattern: UUID_PATTERN }
    const rows = await listOrders(deps.database, reach, filter, pageOf(listing, { limit, offset, cursor }))
    const { page, nextCursor } = cutPage(listing, rows, { limit, idOf: ({ orderId }) => orderId })
    return { orders: page.map(summaryMessage), nextCursor }
  },

  cancelOrder: async (request, call) => commandMessage(request.orderId, await deps.command('cancel', request, call)),

  updateShippingAddress: async (request, call) => {
    const role: ActorRole = hasRole(call.principal, 'admin') ? 'admin' : 'customer'
    const order = await findSnapshot(deps.database, request.orderId, orderScopeOf(call))
    if (order === undefined) throw orderUnreachable(call)
    // First, since it creates the customer's key, which the hash needs too.
    const sealed = await deps.pii.seal(order.userId, request.orderId, request.shippingAddress)
    const requestHash = await personalHashOf(deps.pii.hashRequest, order.userId, call)
    const attempt = attemptOf(request.idempotencyKey, call, role, requestHash)
    const earlier = await findCommandAnswer(deps.database, attempt)
    if (earlier !== undefined) {
      call.record.isReplay = true
      return commandMessage(request.orderId, earlier)
    }
    const input = commandInputOf(request, role, call, requestHash)
    const state = await changeAddress(deps.database, request.orderId, sealed, input, attempt.by)
    // Of two calls with one key, the later one may find a newer order; both return the answer stored with the change.
    return commandMessage(request.orderId, (await findCommandAnswer(deps.database, attempt)) ?? state)
  },

  watchOrder: async function* ({ orderId, afterVersion }, call) {
    const order = await findSnapshot(deps.database, orderId, orderScopeOf(call))
    if (order === undefined) throw orderUnreachable(call)
    // A version above the order's was read before a restore: that caller, too, has not seen the present state.
    if (order.version !== afterVersion) {
      yield { state: stateMessage(order), updatedAt: order.updatedAt }
    }
    if (isTerminal(order.status)) return
    const ending = AbortSignal.any([call.signal, AbortSignal.timeout(WATCH_MAX_MS)])
    for await (const next of deps.watch.follow(orderId, order.version, ending)) {
      yield { state: stateMessage(next), updatedAt: next.updatedAt }
      if (isTerminal(next.status)) return
    }
  },
})

/**
 * A refusal of a new order must not withhold the stored answer of an earlier attempt. Nor must the hash that an earlier
 * build stored: it is looked up only for an attempt that would be refused.
 */
async function accept(deps: OrderDeps, request: CreateOrder, call: Call): Promise<AcceptVerdict> {
  try {
    const verdict = await propose(deps, request, call)
    if (verdict.verdict !== 'IDEMPOTENCY_KEY_REUSED') return verdict
    return (await findEarlier(deps, request, formerHashOf(call))) ?? verdict
  } catch (error) {
    const mayHaveAnswer =
      error instanceof DomainError && (error.kind === 'unavailable' || error.reason === 'STEP_UP_REQUIRED')
    if (!mayHaveAnswer) throw error
    const earlier = await findAnyEarlier(deps, request, call).catch(() => undefined)
    if (earlier === undefined) throw error
    return earlier
  }
}

const findEarlier = (
  { priority }: OrderDeps,
  { userId, idempotencyKey: key }: CreateOrder,
  requestHash: Buffer,
): Promise<AcceptVerdict | undefined> => findVerdict(priority, { userId, key, requestHash })

/** Rejects for a customer without a key, who has no earlier answer. */
async function findAnyEarlier(deps: OrderDeps, request: CreateOrder, call: Call): Promise<AcceptVerdict | undefined> {
  const requestHash = await personalHashOf(deps.pii.hashRequest, request.userId, call)
  const earlier = await findEarlier(deps, request, requestHash)
  return earlier?.verdict === 'IDEMPOTENCY_KEY_REUSED' ? findEarlier(deps, request, formerHashOf(call)) : earlier
}

async function propose(deps: OrderDeps, request: CreateOrder, call: Call): Promise<AcceptVerdict> {
  const { userId, asset, lines, idempotencyKey } = request
  const { currency, windowMs, offers, rateOf, stepUpTotalMinor } = deps.shop
  // The total is known before the database prices the order: an order whose price is not the expected one is refused.
  if (totalOf(lines) >= stepUpTotalMinor) assertSteppedUp(call.principal)
  const offer = offers.get(asset)
  if (offer === undefined)
    throw fieldInvalid([{ field: 'asset', description: `must be one of ${[...offers.keys()].join(', ')}` }])
  const rate = rateOf(asset)
  if ('retryAfterMs' in rate)
    throw new DomainError('RATE_UNAVAILABLE', `There is no current price for ${asset}.`, {
      metadata: { asset },
      retryAfterMs: rate.retryAfterMs,
    })
  const cause = await deps.findBlindness(asset)
  if (cause !== undefined)
    throw new DomainError('ASSET_UNAVAILABLE', `${asset} is not taken at the moment; try again later.`, {
      metadata: { asset, cause },
      retryAfterMs: RETRY_HINT_MS.chain,
    })
  if (await deps.isBacklogFull())
    throw new DomainError('START_BACKLOG_FULL', 'Too many accepted orders are waiting; try again.', {
      retryAfterMs: RETRY_HINT_MS.backlog,
    })
  const orderId = deps.orderIdOf(userId, idempotencyKey)
  // Creates the customer's key where there is none; the hash then takes it from memory.
  const addressSealed = await deps.pii.seal(userId, orderId, request.shippingAddress)
  const requestHash = await personalHashOf(deps.pii.hashRequest, userId, call)
  // Last before the transaction, so that an earlier failure uses up no address.
  const address = await deps.leaseAddress(offer.network, asset)
  const order = {
    orderId,
    userId,
    key: idempotencyKey,
    requestHash,
    by: auditActorOf(call, 'customer', requestHash),
    currency,
    lines: lines.map((line) => ({
      productId: line.productId,
      quantity: line.quantity,
      unitPriceMinor: line.expectedUnitPrice,
    })),
    addressSealed,
    asset,
    network: offer.network,
    address,
    rateMinor: rate.rateMinor,
    rateOrigin: rate.origin,
    windowMs,
    graceMs: offer.policy.graceMs,
    confirmWithinMs: offer.policy.confirmWithinMs,
    deadline: call.deadline,
  }
  return deps.acceptor.accept(order, call.signal)
}

const totalOf = (lines: CreateOrder['lines']): bigint =>
  lines.reduce((sum, { quantity, expectedUnitPrice }) => sum + BigInt(quantity) * expectedUnitPrice, 0n)

type Refused = Exclude<AcceptVerdict, { order: unknown }>

/** The API error for a refused order. Several products are listed as violations; the first is also in the metadata. */
function verdictError(verdict: Refused): DomainError {
  switch (verdict.verdict) {
    case 'OUT_OF_STOCK': {
      const [first] = verdict.shortages
      return new DomainError('OUT_OF_STOCK', 'There are not enough units left.', {
        metadata: {
          product_id: first?.productId ?? '',
          wanted: String(first?.wanted ?? 0n),
          available: String(first?.available ?? 0n),
        },
        violations: verdict.shortages.map(({ productId, wanted, available }) => ({
          field: productId,
          description: `wanted ${wanted}, available ${available}`,
        })),
      })
    }
    case 'PRICE_CHANGED': {
      const [first] = verdict.prices
      return new DomainError('PRICE_CHANGED', 'A price is not the expected one.', {
        metadata: { product_id: first?.productId ?? '', unit_price: formatFiat(first?.unitPriceMinor ?? 0n) },
        violations: verdict.prices.map(({ productId, unitPriceMinor }) => ({
          field: productId,
          description: `the price is ${formatFiat(unitPriceMinor)}`,
        })),
      })
    }
    case 'PRODUCT_UNKNOWN':
      return new DomainError('PRODUCT_UNKNOWN', 'A product is not on sale.', {
        metadata: { product_id: verdict.productIds[0] ?? '' },
        violations: verdict.productIds.map((productId) => ({ field: productId, description: 'is not on sale' })),
      })
    case 'AMOUNT_OUT_OF_RANGE':
      return new DomainError('AMOUNT_OUT_OF_RANGE', 'The total is zero or above the maximum.')
    case 'IDEMPOTENCY_KEY_REUSED':
      return new DomainError('IDEMPOTENCY_KEY_REUSED', 'This idempotency key was used for another request.')
  }
}
