// The demo's scenarios of payments that go another way than planned: in parts, lost with their block, and too late.

import { setTimeout as sleep } from 'node:timers/promises'
import { formatCoins } from '../cli/print.ts'
import { given } from '../cli/view.ts'
import { watchOrderStates } from './order.ts'
import { CONFIRMATIONS, LAMP, place, untilFound, type Created, type Played, type Stage } from './scenario.ts'

const CUSTOMER = 'customer2'
/** The rest must come within the window, also on a machine that assesses the first part late. */
const SHOWN_WITHIN_MS = 6_000

/** An order that is paid in two parts. */
export async function playToppedUp(stage: Stage): Promise<Played> {
  const { chain, shop, story, signal } = stage
  const scene = story.scene('An order that is paid too little, then topped up')
  const { orderId, payment } = await place(stage, scene, CUSTOMER, LAMP, 1)
  const followed = watchOrderStates(shop.as(CUSTOMER), orderId, signal)
  const due = BigInt(payment.units)
  const first = due / 3n
  await chain.pay(payment.address, first)
  await chain.mine(1)
  // It may go unseen where the rest is assessed with it.
  const shown = followed.until('partial', ({ paymentState }) => paymentState === 'partial').catch(() => undefined)
  await Promise.race([shown, sleep(SHOWN_WITHIN_MS, undefined, { signal })])
  scene.say(`${formatCoins(payment.asset, first.toString())} came: not enough; its page says what is missing`)
  await chain.pay(payment.address, due - first)
  await chain.mine(CONFIRMATIONS)
  const { status, paymentState } = await followed.until('processing', (state) => state.status === 'processing')
  followed.stop()
  scene.say(`the rest came to the same address, and both are final: ${paymentState}, ${status}`)
  return { orderId, ms: scene.ms() }
}

/** An order whose payment loses its block before it is final, and is mined again. */
export async function playReorganised(stage: Stage): Promise<Played> {
  const { chain, shop, story, signal } = stage
  const scene = story.scene('A payment whose block is lost, and that is mined again')
  const { orderId, payment } = await place(stage, scene, CUSTOMER, LAMP, 1)
  const followed = watchOrderStates(shop.as(CUSTOMER), orderId, signal)
  const txId = await chain.pay(payment.address, BigInt(payment.units))
  await chain.mine(2)
  await followed.until('confirming', ({ paymentState }) => paymentState === 'confirming')
  scene.say(`transaction ${txId} is in a block: confirming`)
  await chain.reorganiseAway(txId)
  scene.say('a reorganisation takes its block away; the order still counts it as seen, and its time goes on')
  await chain.mine(CONFIRMATIONS)
  const { status, paymentState } = await followed.until('processing', (state) => state.status === 'processing')
  followed.stop()
  scene.say(`the same transaction is in another block, ${CONFIRMATIONS} deep: ${paymentState}, ${status}`)
  return { orderId, ms: scene.ms() }
}

/** Pays an order that has expired. @returns the order that the money buys instead */
export async function playLate(stage: Stage, expired: Pick<Created, 'orderId' | 'payment'>): Promise<Played> {
  const { chain, shop, story } = stage
  const scene = story.scene('The payment of the expired order comes late')
  const { orderId, payment } = expired
  await chain.pay(payment.address, BigInt(payment.units))
  await chain.mine(CONFIRMATIONS)
  scene.say(`${formatCoins(payment.asset, payment.units)} came to its address, and is final`)
  const customer = shop.as('customer1')
  const replacementId = await untilFound(
    stage,
    async () => given((await customer.order.getOrder({ orderId })).order).replacedByOrderId || undefined,
  )
  scene.say(`the stock is still there at this price: the money buys order ${replacementId}, with the same lines`)
  return { orderId: replacementId, ms: scene.ms() }
}
