import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { openPayFixture, type PayFixture } from '../../test/support/pay_fixture.ts'
import { until } from '../../test/support/until.ts'
import { createAddressSet, createPeerOf } from '../grpc/peer.ts'

let pay: PayFixture
beforeAll(async () => {
  pay = await openPayFixture()
})
afterAll(() => pay.close())

const newOrder = async () => ({ url: pay.urlOf(await pay.shop.order()) })

describe('limits', () => {
  test('an address has a number of requests per minute, guesses of links included, and is told when to come back', async () => {
    const { url } = await newOrder()
    const { port } = await pay.listen({ bounds: { requestsPerMinute: 3 } })
    const answers = []
    for (const path of ['/pay/guess', '/pay/other', new URL(url).pathname, new URL(url).pathname])
      answers.push(await fetch(`http://127.0.0.1:${port}${path}`))
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 200, 429])
    expect(Number(answers[3]?.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await answers[3]?.text()).toContain('Too many requests')
  })

  test('behind a trusted proxy, each of its clients has its own; what a client writes itself does not count', async () => {
    const proxies = createAddressSet(['127.0.0.0/8'])
    const bounds = { requestsPerMinute: 1 }
    const { port } = await pay.listen({ bounds, peerOf: createPeerOf(proxies), isProxy: proxies.has })
    const ask = async (forwarded: string, to = port) =>
      (await fetch(`http://127.0.0.1:${to}/x`, { headers: { 'x-forwarded-for': forwarded } })).status
    expect(await ask('192.0.2.1')).toBe(404)
    expect(await ask('192.0.2.1')).toBe(429)
    expect(await ask('10.0.0.1, 192.0.2.1')).toBe(429)
    expect(await ask('192.0.2.2')).toBe(404)
    const direct = await pay.listen({ bounds })
    expect(await ask('192.0.2.1', direct.port)).toBe(404)
    expect(await ask('192.0.2.2', direct.port)).toBe(429)
  })

  test('an address has a number of connections, and may open another when one has closed', async () => {
    const { port } = await pay.listen({ bounds: { connectionsPerAddress: 2 } })
    const open = () =>
      new Promise<{ isOpen: () => boolean; close: () => void }>((resolve, reject) => {
        let isOpen = true
        const socket = connect(port, '127.0.0.1', () =>
          resolve({ isOpen: () => isOpen, close: () => socket.destroy() }),
        )
        socket.on('close', () => (isOpen = false)).on('error', reject)
      })
    const [one, two, three] = [await open(), await open(), await open()]
    await until(() => !three.isOpen())
    expect([one.isOpen(), two.isOpen()]).toEqual([true, true])
    one.close()
    await until(async () => {
      const status = await fetch(`http://127.0.0.1:${port}/x`).then(
        (response) => response.status,
        () => 0,
      )
      return status === 404
    })
    two.close()
  })

  test('large headers and malformed requests are refused without a word of a library', async () => {
    const { port } = new URL(pay.origin)
    const say = (text: string): Promise<string> =>
      new Promise((resolve, reject) => {
        let answer = ''
        const socket = connect(Number(port), '127.0.0.1', () => socket.write(text))
        socket.on('data', (chunk) => (answer += chunk.toString()))
        socket.on('close', () => resolve(answer)).on('error', reject)
      })
    expect(await say(`GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1.1 431 .*\r\n.*\r\n\r\n$/,
    )
    expect(await say('nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 Bad Request\r\nConnection: close\r\n\r\n$/)
    const badHost = await say('GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n')
    expect(badHost).toMatch(/^HTTP\/1.1 400/)
    expect(badHost).not.toMatch(/Error|invalid|host header/i)
  })
})
