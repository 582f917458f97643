// The demo's scenarios of an order, each by the same calls that a shop's programs make. money_scenario.ts has those of
// payments that go another way than planned.

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DevelopmentChain } from '../../chain/development.ts'
import { DomainError } from '../../domain/failure.ts'
import { ASSET_POLICY } from '../../domain/payment.ts'
import { formatCoins } from '../cli/print.ts'
import { commandView, createdView } from '../cli/view.ts'
import { PEOPLE } from '../ready_file.ts'
import { watchOrderStates, type Followed } from './order.ts'
import type { NewProduct, Shop } from './shop.ts'
import type { Scene, Story } from './story.ts'

export const LAMP: NewProduct = { productId: 'lamp', name: 'Desk lamp', unitPrice: '45.00', units: 10 }
export const VASE: NewProduct = { productId: 'vase', name: 'One-off vase', unitPrice: '320.00', units: 1 }

export const CONFIRMATIONS = ASSET_POLICY.ETH.confirmations
const DELIVERY_ADDRESS = 'Sample Street 1\n12345 Sample Town'
const POLL_MS = 50
/** Far above what a loaded machine needs. */
const FOUND_WITHIN_MS = 90_000
/** The first example of EIP-55. */
const REFUND_ADDRESS = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'

export type Stage = {
  shop: Shop
  chain: DevelopmentChain
  story: Story
  /** The watcher's /metrics. */
  watcherMetrics: string
  signal: AbortSignal
}

/** A scenario's order, and how long it took. */
export type Played = { orderId: string; ms: number }

type Customer = 'customer1' | 'customer2'
export type Created = ReturnType<typeof createdView>

/** Begins the unpaid order. The returned function waits for its end, after others have been played. */
export async function beginUnpaid(
  stage: Stage,
  windowMs: number,
): Promise<() => Promise<Played & Pick<Created, 'payment'>>> {
  const scene = stage.story.scene(`An order without a payment (the window is ${windowMs / 1_000} s here)`)
  const order = await place(stage, scene, 'customer1', LAMP, 3)
  const followed = watchOrderStates(stage.shop.as('customer1'), order.orderId, stage.signal)
  scene.say(`it may be paid until ${order.payment.expiresAt}; meanwhile, other orders`)
  return async () => {
    stage.story.show('Back to the unpaid order')
    const { cancelReason } = await followed.until('cancelled', ({ status }) => status === 'cancelled')
    followed.stop()
    scene.say(
      `the window and its grace have passed and the chain was read beyond them: cancelled, because ${cancelReason}`,
    )
    return { orderId: order.orderId, payment: order.payment, ms: scene.ms() }
  }
}

export async function playDelivered(stage: Stage): Promise<Played> {
  const { shop, story } = stage
  const scene = story.scene('An order that is paid, shipped and delivered')
  const order = await place(stage, scene, 'customer1', LAMP, 2)
  const followed = watchOrderStates(shop.as('customer1'), order.orderId, stage.signal)
  await pay(stage, scene, order, followed)

  const request = { idempotencyKey: randomUUID(), orderId: order.orderId }
  const fulfilment = shop.as('fulfilment').fulfilment
  const shipped = commandView(await fulfilment.markShipped(request))
  scene.say(`fulfilment hands it to the carrier: ${shipped.status}`)
  const delivered = commandView(await fulfilment.markDelivered({ ...request, idempotencyKey: randomUUID() }))
  scene.say(`the carrier reports its arrival: ${delivered.status}`)
  await followed.until('delivered', ({ status }) => status === 'delivered')
  followed.stop()
  return { orderId: order.orderId, ms: scene.ms() }
}

export async function playCancelled(stage: Stage): Promise<Played> {
  const scene = stage.story.scene('An order that its owner cancels')
  const { orderId } = await place(stage, scene, 'customer2', LAMP, 1)
  const customer = stage.shop.as('customer2')
  const cancelled = commandView(await customer.order.cancelOrder({ idempotencyKey: randomUUID(), orderId }))
  scene.say(`customer 2 thinks again: ${cancelled.status}, and the lamp is back on the shelf`)
  return { orderId, ms: scene.ms() }
}

/** @throws {Error} when the money is not back in time */
export async function playRefunded(stage: Stage): Promise<Played> {
  const { shop, story, chain, signal } = stage
  const scene = story.scene('A paid order that is cancelled, and its money goes back')
  const order = await place(stage, scene, 'customer2', LAMP, 1)
  const { orderId } = order
  const customer = shop.as('customer2')
  const followed = watchOrderStates(customer, orderId, signal)
  await pay(stage, scene, order, followed)
  followed.stop()
  await customer.order.cancelOrder({ idempotencyKey: randomUUID(), orderId })
  const findRefund = async () => (await customer.refund.listRefunds({ orderId })).refunds[0]
  const { refundId } = await untilFound(stage, findRefund)
  scene.say('customer 2 cancels: what was paid is owed')
  for (const confirm of [false, true]) {
    const request = { idempotencyKey: randomUUID(), orderId, refundId, address: REFUND_ADDRESS, confirm }
    await customer.refund.setRefundAddress(request)
  }
  scene.say(`and gives the address ${REFUND_ADDRESS}, and confirms it`)
  for (const admin of shop.admins) {
    const version = (await findRefund())?.version ?? 0n
    await admin.refund.approveRefund({ idempotencyKey: randomUUID(), orderId, refundId, version })
  }
  scene.say('two people approve the refund')
  const txId = await untilFound(stage, async () => {
    await chain.mine(1)
    return (await findRefund())?.txId || undefined
  })
  scene.say(`the payer has sent it in transaction ${txId}, which is final now`)
  return { orderId, ms: scene.ms() }
}

/** @throws {Error} when there is nothing in time */
export async function untilFound<T>({ signal }: Stage, find: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + FOUND_WITHIN_MS
  while (performance.now() < deadline) {
    const found = await find()
    if (found !== undefined) return found
    await sleep(POLL_MS, undefined, { signal })
  }
  throw new Error('what was waited for did not come in time')
}

/** @throws {Error} unless exactly one customer gets the unit and the other is refused with OUT_OF_STOCK */
export async function playRace(stage: Stage): Promise<Played> {
  const scene = stage.story.scene('Two customers and the last vase')
  const [first, second] = await Promise.all([attempt(stage, 'customer1'), attempt(stage, 'customer2')])
  const [lucky, unlucky] = 'order' in first ? [first, second] : [second, first]
  if (!('order' in lucky)) throw lucky.refusal
  if ('order' in unlucky) throw new Error('one vase was sold twice')
  const { reason, message, metadata } = unlucky.refusal
  scene.say(`both order it at once; ${nameOf(lucky.customer)} gets order ${lucky.order.orderId}`)
  scene.say(`${nameOf(unlucky.customer)} is told ${reason}: "${message}" Available: ${metadata['available']}`)
  if (reason !== 'OUT_OF_STOCK' || metadata['available'] !== '0') throw unlucky.refusal

  const { orderId } = lucky.order
  const followed = watchOrderStates(stage.shop.as(lucky.customer), orderId, stage.signal)
  await pay(stage, scene, lucky.order, followed)
  followed.stop()
  return { orderId, ms: scene.ms() }
}

type Attempt = { customer: Customer } & ({ order: Created } | { refusal: DomainError })

/** Orders the vase. A refusal is a result; every other failure is thrown. */
async function attempt(stage: Stage, customer: Customer): Promise<Attempt> {
  try {
    return { customer, order: await create(stage, customer, VASE, 1) }
  } catch (error) {
    if (error instanceof DomainError) return { customer, refusal: error }
    throw error
  }
}

export async function place(
  stage: Stage,
  scene: Scene,
  customer: Customer,
  product: NewProduct,
  quantity: number,
): Promise<Created> {
  const { name } = product
  scene.say(`${nameOf(customer)} orders ${quantity} × ${name} (CreateOrder through gRPC)`)
  const order = await create(stage, customer, product, quantity)
  const { asset, units, address, payUrl } = order.payment
  scene.say(
    `accepted as ${order.orderId}: ${order.total} ${order.currency}, to be paid with ${formatCoins(asset, units)}`,
  )
  scene.say(`to ${address}, an address of its own`)
  if (payUrl !== null) scene.say(`its payment page: ${payUrl}`)
  return order
}

async function create(
  { shop }: Stage,
  customer: Customer,
  { productId, unitPrice }: NewProduct,
  quantity: number,
): Promise<Created> {
  return createdView(
    await shop.as(customer).order.createOrder({
      idempotencyKey: randomUUID(),
      userId: BigInt(PEOPLE[customer].subject),
      lines: [{ productId, quantity, expectedUnitPrice: unitPrice }],
      asset: 'ETH',
      shippingAddress: DELIVERY_ADDRESS,
    }),
  )
}

/** Pays on the chain, mines until the payment is final, and resolves once the order is being processed. */
async function pay(stage: Stage, scene: Scene, { payment }: Created, followed: Followed): Promise<void> {
  const { chain } = stage
  const before = await countReports(stage)
  const txId = await chain.pay(payment.address, BigInt(payment.units))
  scene.say(`${formatCoins(payment.asset, payment.units)} sent on anvil, in transaction ${txId}`)
  await chain.mine(1)
  scene.say('a block with it is mined')
  while ((await countReports(stage)) === before) await sleep(POLL_MS, undefined, { signal: stage.signal })
  scene.say('the watcher has seen it, and the api has stored its signed report')
  // Reached or passed: blocks are mined meanwhile.
  const assessed = await followed.until('confirming', ({ paymentState }) =>
    ['confirming', 'paid'].includes(paymentState),
  )
  const finality = assessed.paymentState === 'confirming' ? 'but not final yet' : 'and already final'
  scene.say(`the workflow was woken and has assessed it: enough, ${finality}`)
  await chain.mine(CONFIRMATIONS - 1)
  scene.say(`${CONFIRMATIONS - 1} more blocks are mined: ${CONFIRMATIONS} confirmations`)
  const { status, paymentState } = await followed.until('processing', (state) => state.status === 'processing')
  scene.say(`the watcher reports it final, the workflow goes on: ${paymentState}, ${status}`)
}

/** How many of the watcher's messages the api has stored. */
async function countReports({ watcherMetrics }: Stage): Promise<number> {
  const text = await (await fetch(watcherMetrics)).text()
  const [, count] = /^holdfast_chain_reports_total\{[^}]*outcome="taken"[^}]*\} (\d+)/m.exec(text) ?? []
  return Number(count ?? '0')
}

const nameOf = (customer: Customer): string => customer.replace('customer', 'customer ')
