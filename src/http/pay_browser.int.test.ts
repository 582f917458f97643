// The payment page in a headless Chromium: what its payer sees, with and without JavaScript, by keyboard, and as a
// screen reader is told. HOLDFAST_PICTURES=FOLDER also writes the pictures of the README there.

import { createRequire } from 'node:module'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import type { AxeResults } from 'axe-core'
import { decodeQR } from 'qr/decode.js'
import type { Page } from 'puppeteer-core'
import { openBrowser, type TestBrowser } from '../../test/support/browser.ts'
import { openPayFixture, type PayFixture } from '../../test/support/pay_fixture.ts'
import { buildObservation, nextOf, runOf } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { expireOrder } from '../db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../db/payment.ts'
import { formatAddress } from '../keyvault/address.ts'
import { LANGUAGES, type Language } from './pay_language.ts'
import type { PayStage } from './pay_view.ts'

jest.setTimeout(240_000)
const WITHIN = { withinMs: 60_000 }
const AXE_PATH = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const PICTURES = process.env['HOLDFAST_PICTURES']

let pay: PayFixture
let browser: TestBrowser
beforeAll(async () => {
  pay = await openPayFixture({ refundUrlOf: (orderId) => `https://shop.example/refund?order=${orderId}` })
  browser = await openBrowser()
})
afterAll(async () => {
  await browser.close()
  await pay.close()
})

const report = (...facts: Parameters<typeof recordReport>[2]) => recordReport(pay.shop.api, 'w1', facts)
const newOrder = async (overrides: Parameters<typeof pay.shop.order>[0] = {}) => {
  const order = await pay.shop.order(overrides)
  return { order, run: runOf(order), url: pay.urlOf(order) }
}
const textOf = (page: Page, selector: string): Promise<string> =>
  page.$eval(selector, ({ textContent }) => textContent?.trim() ?? '')
const stageOf = (page: Page): Promise<string | null> => page.$eval('#status', (box) => box.getAttribute('data-stage'))
const untilStage = (page: Page, stage: PayStage) => until(async () => (await stageOf(page)) === stage, WITHIN)

async function axeProblemsOf(page: Page): Promise<string[]> {
  await page.evaluate(await (await import('node:fs/promises')).readFile(AXE_PATH, 'utf8'))
  const { violations } = (await page.evaluate('axe.run()')) as AxeResults
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

async function shoot(page: Page, name: string): Promise<void> {
  const bytes = await page.screenshot({ type: 'png', fullPage: true })
  expect(bytes.length).toBeGreaterThan(1_000)
  if (PICTURES !== undefined) await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true })
}

/** The order's money in two transfers, its confirmations, and its end: each as the watcher would report it. */
test('one page shows the whole payment without being loaded again, and breaks no rule of its own', async () => {
  const { order, run, url } = await newOrder()
  await pay.scanTo(1_000)
  const { page, problems } = await browser.open(url)
  await untilStage(page, 'awaiting')
  expect(await textOf(page, 'h1')).toBe('Pay 0.0125 ETH')
  expect(await axeProblemsOf(page)).toEqual([])
  await shoot(page, 'pay-waiting')

  const part = buildObservation(order, {
    state: 'seen',
    amount: order.amountDue / 4n,
    block: { height: 990, hash: '0x1' },
  })
  await report(part)
  await assessPayments(pay.shop.worker, run.next())
  await untilStage(page, 'partial')
  expect(await textOf(page, '#status h2')).toBe('Underpaid: 0.009375 ETH missing')
  expect(await textOf(page, 'h1')).toBe('Pay 0.009375 ETH')
  expect(await axeProblemsOf(page)).toEqual([])
  await shoot(page, 'pay-partial')

  const amount = order.amountDue - part.amount
  const rest = buildObservation(order, { state: 'seen', amount, block: { height: 997, hash: '0x2' } })
  await report(rest)
  await untilStage(page, 'seen')
  await assessPayments(pay.shop.worker, run.next())
  await untilStage(page, 'confirming')
  expect(await textOf(page, '#status h2')).toBe('Confirming: 4 of 12')
  await pay.scanTo(1_003)
  await until(async () => (await textOf(page, '#status h2')) === 'Confirming: 7 of 12', WITHIN)
  expect(await axeProblemsOf(page)).toEqual([])
  await shoot(page, 'pay-confirming')

  await report(nextOf(part, { state: 'final' }), nextOf(rest, { state: 'final' }))
  await assessPayments(pay.shop.worker, run.next())
  await untilStage(page, 'paid')
  expect(await page.title()).toBe('Paid – Payment')
  expect(await axeProblemsOf(page)).toEqual([])
  await shoot(page, 'pay-paid')

  await report(nextOf(part, { state: 'reorged', seq: 3 }), nextOf(rest, { state: 'reorged', seq: 3 }))
  await assessPayments(pay.shop.worker, run.next())
  await untilStage(page, 'at_risk')
  expect(problems).toEqual([])
})

test('an order that ends unpaid says so, then that money came too late, and where a refund is asked for', async () => {
  const { order, run, url } = await newOrder({ windowMs: 1_500, graceMs: 0 })
  const { page, problems } = await browser.open(url)
  await untilStage(page, 'ended')
  expect(await axeProblemsOf(page)).toEqual([])
  await pay.shop.catchUp()
  await until(async () => (await expireOrder(pay.shop.worker, run.next())).status === 'cancelled', WITHIN)
  await untilStage(page, 'expired')
  expect(await page.$('svg')).toBeNull()
  await shoot(page, 'pay-expired')

  const late = buildObservation(order, { state: 'seen', firstSeenAt: new Date(order.expiresAt.getTime() + 5_000) })
  await report(late)
  await assessLatePayments(pay.shop.worker, order.orderId)
  await untilStage(page, 'late_confirming')
  await report(nextOf(late, { state: 'final' }))
  await assessLatePayments(pay.shop.worker, order.orderId)
  await untilStage(page, 'too_late')
  expect(await textOf(page, '#refund')).toContain('The shop owes you 0.0125 ETH.')
  expect(await page.$eval('#refund a', (link) => link.getAttribute('href'))).toBe(
    `https://shop.example/refund?order=${order.orderId}`,
  )
  expect(await axeProblemsOf(page)).toEqual([])
  await shoot(page, 'pay-late')
  expect(problems).toEqual([])
})

test('an underpaid order that ends says what was missing', async () => {
  const { order, run, url } = await newOrder({ windowMs: 1_500, graceMs: 0 })
  await report(buildObservation(order, { amount: order.amountDue / 2n }))
  await assessPayments(pay.shop.worker, run.next())
  await pay.shop.catchUp()
  await until(async () => (await expireOrder(pay.shop.worker, run.next())).status === 'cancelled', WITHIN)
  const { page } = await browser.open(url)
  await untilStage(page, 'too_little')
  expect(await textOf(page, '#status')).toContain('0.00625 ETH was missing at the end')
  expect(await textOf(page, '#refund')).toContain('0.00625 ETH')
  await shoot(page, 'pay-underpaid')
})

test('an order that its owner cancels says so at once', async () => {
  const { run, url } = await newOrder()
  const { page } = await browser.open(url)
  await untilStage(page, 'awaiting')
  await pay.shop.ask('cancel', run.next())
  await untilStage(page, 'cancelled')
  expect(await axeProblemsOf(page)).toEqual([])
})

test('without JavaScript the page is complete, and reloads itself until it shows the payment', async () => {
  const { order, run, url } = await newOrder()
  const { page, problems } = await browser.open(url, { hasJavaScript: false })
  expect(await stageOf(page)).toBe('awaiting')
  expect(await page.$('svg')).not.toBeNull()
  expect(await textOf(page, 'main')).toContain(order.amountDue.toString())
  expect(await textOf(page, '[role=timer]')).toMatch(/^\d+ min$/)
  expect(await page.$$eval('button', (buttons) => buttons.filter(({ hidden }) => !hidden).length)).toBe(0)
  await report(buildObservation(order))
  await assessPayments(pay.shop.worker, run.next())
  await untilStage(page, 'paid')
  expect(problems).toEqual([])
})

describe('what a payer takes from the page', () => {
  test('by keyboard alone, amount, base units and address are copied, and each copy is announced', async () => {
    const { order, url } = await newOrder()
    const { page } = await browser.open(url)
    await untilStage(page, 'awaiting')
    const copied: Record<string, string> = {}
    for (let presses = 0; presses < 12; presses += 1) {
      await page.keyboard.press('Tab')
      const focused = await page.evaluate('document.activeElement.id')
      if (!String(focused).startsWith('copy-')) continue
      await page.keyboard.press('Enter')
      await until(async () => (await textOf(page, '#note')) !== '', WITHIN)
      expect(await textOf(page, '#note')).toBe('Copied.')
      copied[String(focused)] = String(await page.evaluate('navigator.clipboard.readText()'))
    }
    expect(copied).toEqual({
      'copy-amount': '0.0125',
      'copy-exact': order.amountDue.toString(),
      'copy-address': formatAddress('ETH', order.address),
    })
    expect(await page.$eval('#note', (note) => note.getAttribute('role'))).toBe('status')
  })

  test('the focus stays where it is while the state changes', async () => {
    const { order, url } = await newOrder()
    const { page } = await browser.open(url)
    await untilStage(page, 'awaiting')
    await page.focus('#copy-address')
    await report(buildObservation(order, { state: 'seen', amount: order.amountDue / 2n }))
    await untilStage(page, 'partial')
    expect(await page.evaluate('document.activeElement.id')).toBe('copy-address')
  })

  test('the QR code holds the payment URI that the link opens', async () => {
    const { order, url } = await newOrder()
    const { page } = await browser.open(url, { width: 800 })
    await untilStage(page, 'awaiting')
    const uri = `ethereum:${formatAddress('ETH', order.address)}@1?value=${order.amountDue}`
    expect(await page.$eval('#open', (link) => link.getAttribute('href'))).toBe(uri)
    const pixels = (await page.evaluate(`(async () => {
      const svg = document.querySelector('.qr svg').outerHTML.replace('<svg ', '<svg width="410" height="410" ')
      const canvas = document.createElement('canvas')
      canvas.width = canvas.height = 410
      const context = canvas.getContext('2d')
      context.fillStyle = 'white'
      context.fillRect(0, 0, 410, 410)
      const path = document.querySelector('.qr svg path').getAttribute('d')
      context.scale(10, 10)
      context.fillStyle = 'black'
      context.fill(new Path2D(path))
      return [...context.getImageData(0, 0, 410, 410).data]
    })()`)) as number[]
    expect(decodeQR({ width: 410, height: 410, data: new Uint8ClampedArray(pixels) })).toBe(uri)
  })

  test('the countdown runs', async () => {
    const { url } = await newOrder()
    const { page } = await browser.open(url)
    const before = await until(async () => {
      const text = await textOf(page, '[role=timer]')
      return /\d+ min \d+ s/.test(text) && text
    }, WITHIN)
    await until(async () => (await textOf(page, '[role=timer]')) !== before, WITHIN)
  })
})

test.each(Object.keys(LANGUAGES) as Language[])(
  'in %s, dark, on a phone: readable, and nothing sticks out',
  async (language) => {
    const { url } = await newOrder()
    const { page, problems } = await browser.open(url, { isDark: true, width: 320, language })
    await untilStage(page, 'awaiting')
    expect(await page.$eval('html', (root) => root.getAttribute('lang'))).toBe(language)
    expect(await axeProblemsOf(page)).toEqual([])
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
    await shoot(page, `pay-${language}-dark`)
    expect(problems).toEqual([])
  },
)

test('the page of a wrong link is readable too', async () => {
  const { page, problems } = await browser.open(`${pay.origin}/pay/wrong?lang=de`)
  expect(await textOf(page, 'h1')).toBe(LANGUAGES.de['error.missing.title'])
  expect(await axeProblemsOf(page)).toEqual([])
  expect(problems).toEqual([])
})
