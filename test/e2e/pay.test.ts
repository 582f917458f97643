// The payment page against the whole stack: a customer pays on the chain in two transfers and watches one page, in a
// browser. Money that a reorganisation takes away is seen again.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import type { Page } from 'puppeteer-core'
import { openBrowser, type TestBrowser } from '../support/browser.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'
import { until } from '../support/until.ts'

const WITHIN = { withinMs: 120_000 }

let stack: TestStack
let browser: TestBrowser
beforeAll(async () => {
  stack = await startTestStack({ HOLDFAST_POLL_MS: '250' })
  await stack.putProduct('lamp', 100)
  browser = await openBrowser()
}, 240_000)
afterAll(async () => {
  await browser.close()
  await stack.stop()
}, 60_000)

const titleOf = (page: Page): Promise<string> =>
  page.$eval('#status h2', ({ textContent }) => textContent?.trim() ?? '')
const untilTitle = (page: Page, title: string) =>
  until(async () => {
    expect(await titleOf(page)).toBe(title)
    return true
  }, WITHIN)

test('one page follows a payment from the first transfer over a reorganisation to paid', async () => {
  const { orderId, paymentRequest } = await stack.createOrder(stack.as('customer', '1'), 1, { lamp: 2 })
  const { payUrl = '', address = '', amount } = paymentRequest ?? {}
  const due = BigInt(amount?.units ?? '0')
  expect(payUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/pay\/[\w-]{48}$/)
  const { page, problems } = await browser.open(payUrl)
  await untilTitle(page, 'Waiting for your payment')

  await stack.chain.pay(address, due - 5_000_000_000_000_000n)
  await stack.chain.mine(1)
  await untilTitle(page, 'Underpaid: 0.005 ETH missing')
  await stack.chain.pay(address, 5_000_000_000_000_000n)
  await stack.chain.mine(1)
  await untilTitle(page, 'Confirming: 1 of 12')
  await stack.chain.mine(2)
  await untilTitle(page, 'Confirming: 3 of 12')
  // The block of the second transfer is lost; the chain's node keeps no transfer of a block that it rolls back.
  await stack.chain.reorganise(3)
  await untilTitle(page, 'Payment seen')
  await stack.chain.pay(address, 5_000_000_000_000_000n)
  await stack.chain.mine(12)
  await untilTitle(page, 'Paid')
  expect(problems).toEqual([])

  const { order } = await stack.as('customer', '1').order.getOrder({ orderId })
  expect(order?.paymentRequest?.payUrl).toBe(payUrl)
  // The link is a secret of its customer.
  expect(await stack.readLogs()).not.toContain(new URL(payUrl).pathname)
}, 400_000)
