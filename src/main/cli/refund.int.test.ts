import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { createTestFront, customer, type Caller, type TestFront } from '../../../test/support/front.ts'
import { COUNT_WITHIN_MS } from '../../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { loadConfig } from '../../config.ts'
import { createProgram } from './program.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const ADDRESS = '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
const admin = (subject: string): Caller => ({ role: 'admin', subject })

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

/** What a command prints. */
async function holdfast(caller: Caller, ...args: string[]): Promise<string> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const shell = {
    config: loadConfig('cli', { HOLDFAST_TOKEN: await front.tokenOf(caller) }),
    write: say,
    complain: say,
    untilInterrupted: () => AbortSignal.any([]),
  }
  const doors = ['--admin', front.adminAddress, '--api', front.address]
  await createProgram(shell).parseAsync([...args, ...doors], { from: 'user' })
  return said.join('')
}

test('a refund is asked for, addressed, approved by two people and shown with its order', async () => {
  const { order } = await shop.orderIn('delivered')
  const { orderId } = order
  const asked: unknown = JSON.parse(
    await holdfast(
      admin('1'),
      ...['refund', 'request', orderId, '--fiat', '1.00', '--rate', '4000.00', '--reason', 'a scratch', '--json'],
    ),
  )
  expect(asked).toMatchObject({ units: String(25n * 10n ** 13n), status: 'awaiting_destination', version: 1 })
  const { refundId } = asked as { refundId: string }
  const address = ['refund', 'address', orderId, refundId, ADDRESS]
  expect(await holdfast(customer(7), ...address)).toContain(ADDRESS)
  expect(await holdfast(customer(7), ...address, '--confirm')).toContain('awaiting_approval')
  const approve = ['refund', 'approve', orderId, refundId, '3']
  expect(await holdfast(admin('2'), ...approve)).toContain('awaiting_approval')
  expect(await holdfast(admin('3'), ...approve)).toContain('approved')
  const listed = await holdfast(admin('1'), 'refund', 'list', '--status', 'approved')
  expect(listed).toContain(refundId)
  expect(listed).not.toContain(ADDRESS)
  const dossier = ['payment', 'show', orderId]
  expect(await holdfast(admin('1'), ...dossier)).not.toContain(ADDRESS)
  expect(await holdfast(admin('1'), ...dossier, '--destinations')).toContain(ADDRESS)
  expect(await holdfast(customer(7), 'order', 'get', orderId)).toContain(ADDRESS)
  expect(await holdfast(admin('1'), 'refund', 'reject', orderId, refundId, '--reason', 'a mistake')).toContain(
    'rejected',
  )
  expect(JSON.parse(await holdfast(customer(7), 'refund', 'list', '--order', orderId, '--json'))).toMatchObject({
    refunds: [{ refundId, status: 'rejected', fiat: '1.00', rate: '4000.00 (stated)', destination: ADDRESS }],
  })
})

test('what a command would not use is refused, and not ignored', async () => {
  const { order } = await shop.orderIn('delivered')
  const request = ['refund', 'request', order.orderId, '--reason', 'a scratch', '--units', '1']
  await expect(holdfast(admin('1'), ...request, '--rate', '4000.00')).rejects.toThrow('--rate is the rate of --fiat')
  await expect(
    holdfast(admin('1'), 'refund', 'list', '--order', order.orderId, '--status', 'approved'),
  ).rejects.toThrow(/cannot be used with/)
})
