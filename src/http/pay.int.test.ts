import { request, type IncomingMessage } from 'node:http'
import { request as requestByTls } from 'node:https'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { makeCertificate } from '../../test/support/certificate.ts'
import { openPayFixture, type PayFixture } from '../../test/support/pay_fixture.ts'
import { buildObservation, nextOf, runOf } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { findPaymentFacts } from '../db/payment_page.ts'
import { assessPayments, recordReport } from '../db/payment.ts'
import { createFactsReader } from './pay_reader.ts'
import { payViewOf } from './pay_view.ts'

const MAX_PAGE_BYTES = 30_000

let pay: PayFixture
beforeAll(async () => {
  pay = await openPayFixture()
})
afterAll(() => pay.close())

const newOrder = async () => {
  const order = await pay.shop.order()
  return { order, run: runOf(order), url: pay.urlOf(order) }
}
const report = (...facts: Parameters<typeof recordReport>[2]) => recordReport(pay.shop.api, 'w1', facts)
const stageOf = async (html: Promise<Response>) => /data-stage="(\w+)"/.exec(await (await html).text())?.[1]

describe('a page', () => {
  test('shows amount, base units, address, network and a QR code, and nothing about the customer', async () => {
    const { order, url } = await newOrder()
    const response = await fetch(url)
    const text = await response.text()
    expect(response.status).toBe(200)
    for (const shown of ['0.0125', order.amountDue.toString(), 'ethereum', 'wei', '<svg', '25.00 EUR']) {
      expect([shown, text.includes(shown)]).toEqual([shown, true])
    }
    expect(text.toLowerCase()).toContain(order.address)
    for (const hidden of ['Lamp', order.orderId, 'user'])
      expect([hidden, text.includes(hidden)]).toEqual([hidden, false])
  })

  test('with its files is smaller than 30 KB', async () => {
    const { url } = await newOrder()
    const page = await (await fetch(url)).text()
    const names = [...page.matchAll(/(?:href|src)="(\/pay\/static\/[^"]+)"/g)].map(([, name = '']) => name)
    expect(names).toHaveLength(2)
    const files = await Promise.all(names.map(async (name) => (await fetch(`${pay.origin}${name}`)).text()))
    expect([page, ...files].reduce((sum, text) => sum + Buffer.byteLength(text), 0)).toBeLessThan(MAX_PAGE_BYTES)
  })

  test('allows nothing but its own files, is not stored, framed or indexed, and names no referrer', async () => {
    const { headers } = await fetch((await newOrder()).url)
    const policy = headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toContain('unsafe')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('referrer-policy')).toBe('no-referrer')
    expect(headers.get('x-robots-tag')).toContain('noindex')
    expect(headers.get('strict-transport-security')).toBeNull()
  })

  test('tells browsers to use https alone where customers reach it by https', async () => {
    const { port } = await pay.listen({ isSecure: true })
    const { headers } = await fetch(`http://127.0.0.1:${port}/pay/x`)
    expect(headers.get('strict-transport-security')).toMatch(/^max-age=\d{8}$/)
  })

  test('files may be kept forever, since their names change with their content', async () => {
    const text = await (await fetch((await newOrder()).url)).text()
    const [, name = ''] = /href="(\/pay\/static\/pay\.[0-9a-f]{16}\.css)"/.exec(text) ?? []
    const { headers } = await fetch(`${pay.origin}${name}`)
    expect(headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
  })

  test('is in the language asked for', async () => {
    const { url } = await newOrder()
    const languageOf = async (address: string, accepted: string) =>
      /<html lang="(\w+)"/.exec(await (await fetch(address, { headers: { 'accept-language': accepted } })).text())?.[1]
    expect(await languageOf(url, 'de-AT,de;q=0.9')).toBe('de')
    expect(await languageOf(url, 'fr')).toBe('en')
    expect(await languageOf(`${url}?lang=de`, 'en')).toBe('de')
  })

  test('changes nothing of its order', async () => {
    const { order, url } = await newOrder()
    const before = await pay.shop.snapshot(order)
    await fetch(url)
    expect(await pay.shop.snapshot(order)).toEqual(before)
  })
})

describe('a link that is wrong, altered or expired, and any other path', () => {
  test('get one and the same answer', async () => {
    const { order, url } = await newOrder()
    const token = url.slice(url.lastIndexOf('/') + 1)
    const expired = pay.urlOf({ ...order, createdAt: new Date(Date.now() - 31 * 86_400_000) })
    const unknown = pay.urlOf({ ...order, orderId: randomUUID() })
    const paths = [
      expired,
      unknown,
      `${url}x`,
      `${url}/`,
      `${pay.origin}/pay/${token.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))}`,
      `${expired}/events`,
      `${pay.origin}/pay/${order.orderId}`,
      `${pay.origin}/pay/%00%ff`,
      `${pay.origin}/pay/<script>alert(1)</script>`,
      `${pay.origin}/pay/static/..%2f..%2fpay.ts`,
      `${pay.origin}/pay/static/pay.css`,
      `${pay.origin}/`,
      `${pay.origin}/metrics`,
      `${pay.origin}/${'a'.repeat(4_000)}`,
    ]
    const answers = await Promise.all(
      paths.map(async (path) => {
        const response = await fetch(path)
        return { status: response.status, text: await response.text() }
      }),
    )
    expect(answers[0]?.status).toBe(404)
    expect(answers[0]?.text).toContain('This page does not exist')
    for (const answer of answers) expect(answer).toEqual(answers[0])
  })

  test('only GET and HEAD are answered, and HEAD opens no stream', async () => {
    const { url } = await newOrder()
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) expect((await fetch(url, { method })).status).toBe(405)
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(200)
    expect((await fetch(`${url}/events`, { method: 'HEAD' })).status).toBe(404)
  })
})

describe('the stage', () => {
  test('follows one order from the first transfer to paid', async () => {
    const { order, run, url } = await newOrder()
    await pay.scanTo(100)
    expect(await stageOf(fetch(url))).toBe('awaiting')
    const part = buildObservation(order, {
      state: 'seen',
      amount: order.amountDue / 4n,
      block: { height: 90, hash: '0x1' },
    })
    await report(part)
    // Before the order's workflow has assessed the report.
    expect(await stageOf(fetch(url))).toBe('partial')
    await assessPayments(pay.shop.worker, run.next())
    expect(await (await fetch(url)).text()).toContain('Underpaid: 0.009375 ETH missing')

    const rest = buildObservation(order, {
      state: 'seen',
      amount: order.amountDue - part.amount,
      block: { height: 98, hash: '0x2' },
    })
    await report(rest)
    expect(await stageOf(fetch(url))).toBe('seen')
    await assessPayments(pay.shop.worker, run.next())
    expect(await (await fetch(url)).text()).toContain('Confirming: 3 of 12')
    await pay.scanTo(200)
    expect(await (await fetch(url)).text()).toContain('Confirming: 12 of 12')
    await report(nextOf(part, { state: 'final' }), nextOf(rest, { state: 'final' }))
    await assessPayments(pay.shop.worker, run.next())
    const paid = await (await fetch(url)).text()
    expect(paid).toContain('Thank you')
    expect(paid).not.toContain('<svg')
  })

  test('of late money says that it is too late, and of an open order does not count it', async () => {
    const { order, url } = await newOrder()
    await report(buildObservation(order, { firstSeenAt: new Date(order.expiresAt.getTime() + 600_000) }))
    expect(await stageOf(fetch(url))).toBe('awaiting')
  })

  test('of a cancelled order asks for nothing, and shows no address', async () => {
    const { order, run, url } = await newOrder()
    await pay.shop.ask('cancel', run.next())
    const text = await (await fetch(url)).text()
    expect(text).toContain('The order was cancelled')
    expect(text.toLowerCase()).not.toContain(order.address)
  })

  test('a reorganised transfer has no confirmations', async () => {
    const { order, run } = await newOrder()
    await pay.scanTo(300)
    const seen = buildObservation(order, { state: 'seen', block: { height: 299, hash: '0x1' } })
    await report(seen)
    await assessPayments(pay.shop.worker, run.next())
    const depth = async () => {
      const [facts] = await findPaymentFacts(pay.shop.api, [order.orderId])
      return facts && { stage: payViewOf(facts).stage, depth: facts.depth }
    }
    expect(await depth()).toEqual({ stage: 'confirming', depth: 2 })
    await report(nextOf(seen, { state: 'reorged' }))
    await assessPayments(pay.shop.worker, run.next())
    expect(await depth()).toEqual({ stage: 'seen', depth: null })
    // Another one in a block does not hide it.
    await report(buildObservation(order, { state: 'seen', amount: 1n, block: { height: 290, hash: '0x2' } }))
    await assessPayments(pay.shop.worker, run.next())
    expect(await depth()).toEqual({ stage: 'seen', depth: null })
  })
})

/** A stream that the test reads as raw text. */
function openStream(
  url: string,
): Promise<{ response: IncomingMessage; text: () => string; hasEnded: () => boolean; close: () => void }> {
  return new Promise((resolve, reject) => {
    const outgoing = request(`${url}/events`, (response) => {
      let text = ''
      let hasEnded = false
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('close', () => (hasEnded = true)).on('error', () => undefined)
      resolve({ response, text: () => text, hasEnded: () => hasEnded, close: () => outgoing.destroy() })
    })
    outgoing.on('error', reject).end()
  })
}

describe('a stream', () => {
  test('sends the state at once and each change, and is left when its reader goes', async () => {
    const { order, run, url } = await newOrder()
    await pay.scanTo(100)
    const stream = await openStream(url)
    expect(stream.response.headers['content-type']).toBe('text/event-stream')
    await until(() => stream.text().includes('"stage":"awaiting"'))
    await report(buildObservation(order, { state: 'seen', block: { height: 100, hash: '0x1' } }))
    await assessPayments(pay.shop.worker, run.next())
    await until(() => stream.text().includes('Confirming: 1 of 12'))
    expect(stream.text().match(/"stage":"awaiting"/g)).toHaveLength(1)
    stream.close()
    await until(async () => (await streamsOf(pay)) === 0)
  })

  test('is refused above the number per link, per address and in all', async () => {
    const [one, two, three] = [await newOrder(), await newOrder(), await newOrder()]
    const listenWith = async (bounds: object) => {
      const { port } = await pay.listen({ bounds: { requestsPerMinute: 1_000, ...bounds } })
      return ({ url }: { url: string }) => openStream(url.replace(/:\d+/, `:${port}`))
    }
    for (const bounds of [{ streamsPerAddress: 2 }, { streams: 2 }]) {
      const open = await listenWith(bounds)
      const streams = [await open(one), await open(two), await open(three)]
      expect(streams.map(({ response }) => response.statusCode)).toEqual([200, 200, 429])
      expect(streams[2]?.response.headers['retry-after']).toMatch(/^\d+$/)
      streams[0]?.close()
      await until(async () => {
        const again = await open(three)
        again.close()
        return again.response.statusCode === 200
      })
      for (const stream of streams) stream.close()
    }
    const open = await listenWith({ streamsPerLink: 1 })
    const streams = [await open(one), await open(one), await open(two)]
    expect(streams.map(({ response }) => response.statusCode)).toEqual([200, 429, 200])
    for (const stream of streams) stream.close()
  })

  test('is closed after its life, and when the listener stops', async () => {
    const { url } = await newOrder()
    const { port } = await pay.listen({ times: { lookEveryMs: 50, lifeMs: 300 } })
    const short = await openStream(url.replace(/:\d+/, `:${port}`))
    await until(short.hasEnded)
    expect(short.text()).toContain('retry: ')
    const listener = await pay.listen()
    const open = await openStream(url.replace(/:\d+/, `:${listener.port}`))
    await until(() => open.text().includes('awaiting'))
    await listener.stop()
    await until(open.hasEnded)
  })

  test('of many readers costs one statement at a time', async () => {
    let running = 0
    let most = 0
    let asked = 0
    const findFacts = createFactsReader(async (orderIds) => {
      running += 1
      most = Math.max(most, running)
      asked += orderIds.length
      const found = await findPaymentFacts(pay.shop.api, orderIds)
      running -= 1
      return found
    })
    const { port } = await pay.listen({ findFacts, bounds: { streamsPerLink: 100, streamsPerAddress: 100 } })
    const orders = [await newOrder(), await newOrder()]
    const streams = await Promise.all(
      Array.from({ length: 40 }, (_, at) => openStream((orders[at % 2]?.url ?? '').replace(/:\d+/, `:${port}`))),
    )
    await until(() => streams.every(({ text }) => text().includes('awaiting')))
    expect(most).toBe(1)
    expect(asked).toBeLessThan(40)
    for (const stream of streams) stream.close()
  })
})

const streamsOf = async ({ registry }: PayFixture): Promise<number> =>
  (await registry.getSingleMetric('holdfast_pay_streams')?.get())?.values[0]?.value ?? Number.NaN

test('with a certificate the page is served by TLS alone, and another certificate is used from the next connection', async () => {
  const { order } = await newOrder()
  const [first, second] = [makeCertificate({ dns: ['one.test'] }), makeCertificate({ dns: ['two.test'] })]
  const identityOf = ({ cert, key }: typeof first) => ({ cert: Buffer.from(cert), key: Buffer.from(key) })
  const listener = await pay.listen({ identity: identityOf(first), isSecure: true })
  const path = new URL(pay.urlOf(order)).pathname
  const ask = (ca: string, servername: string) =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = { port: listener.port, host: '127.0.0.1', path, ca, servername, agent: false }
      requestByTls(options, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end()
    })
  expect(await ask(first.cert, 'one.test')).toBe(200)
  await expect(fetch(`http://127.0.0.1:${listener.port}${path}`)).rejects.toThrow()
  listener.setIdentity(identityOf(second))
  expect(await ask(second.cert, 'two.test')).toBe(200)
  await expect(ask(first.cert, 'one.test')).rejects.toThrow()
})

test('while the database is away, a page says so in plain words, and its link is not logged', async () => {
  const { url } = await newOrder()
  const lines = pay.logLines.length
  const { port } = await pay.listen({ findFacts: () => Promise.reject(new Error('secret detail of a library')) })
  const response = await fetch(url.replace(/:\d+/, `:${port}`))
  const text = await response.text()
  expect(response.status).toBe(503)
  expect(response.headers.get('retry-after')).toBe('60')
  expect(text).toContain('Your order is safe')
  expect(text).not.toContain('secret detail')
  expect(pay.logLines.slice(lines).join('')).not.toContain(new URL(url).pathname)
})
