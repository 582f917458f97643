import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { auditor, createTestFront, type TestFront } from '../../../test/support/front.ts'
import { COUNT_WITHIN_MS } from '../../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { loadConfig } from '../../config.ts'
import { createProgram } from './program.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
let front: TestFront
beforeAll(async () => {
  shop = await createTestShop()
  front = await createTestFront(shop.test)
})
afterAll(async () => {
  await front.stop()
  await shop.close()
})

/** What a command prints for an auditor. */
async function holdfast(...args: string[]): Promise<string> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const shell = {
    config: loadConfig('cli', { HOLDFAST_TOKEN: await front.tokenOf(auditor) }),
    write: say,
    complain: say,
    untilInterrupted: () => AbortSignal.any([]),
  }
  const doors = ['--admin', front.adminAddress, '--api', front.address]
  await createProgram(shell).parseAsync([...args, ...doors], { from: 'user' })
  return said.join('')
}

test('the money of an order is found by its address, and shown with the reason why it is where it is', async () => {
  const { order } = await shop.orderIn('processing')
  const { transfers } = JSON.parse(await holdfast('payment', 'list', '--address', order.address, '--json')) as {
    transfers: { orderId: string; state: string; paymentState: string }[]
  }
  expect(transfers).toMatchObject([{ orderId: order.orderId, state: 'final', paymentState: 'paid' }])

  const dossier: unknown = JSON.parse(await holdfast('payment', 'show', order.orderId, '--json'))
  expect(dossier).toMatchObject({
    explanation: expect.stringMatching(/^It is paid/),
    reports: [{ source: 'w1', judgement: 'counts' }],
    ledger: [{ received: order.amountDue.toString(), postings: 1 }],
  })
  const text = await holdfast('payment', 'show', order.orderId)
  expect(text).toMatch(/^It is paid: .* is final\. It waits to be shipped\./)
  expect(text).toContain('transfers: 1 of 1')
})

test('a list is narrowed by states, flags, coin and days, and refuses what is no time', async () => {
  await shop.orderIn('processing')
  const list = (...args: string[]) => holdfast('payment', 'list', ...args)
  const day = new Date().toISOString().slice(0, 10)
  const wide = ['--state', 'final', '--payment-state', 'paid', '--asset', 'ETH', '--from', '2020-01-01']
  expect(await list(...wide, '--oldest-first', '--limit', '1')).toContain('final')
  expect(await list(...wide, '--flag', 'late', 'over')).toBe('(none)\n')
  expect(await list('--before', '2020-01-01T12:00Z')).toBe('(none)\n')
  expect(await list('--from', day, '--before', '2020-01-01')).toBe('(none)\n')
  await expect(list('--from', 'yesterday')).rejects.toThrow('Not a time')
})
