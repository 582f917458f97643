import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { openTestDatabase } from '../../../test/support/database.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../../../test/support/shop.ts'
import { loadConfig } from '../../config.ts'
import { assessPayments, recordReport } from '../../db/payment.ts'
import { findLedgerSums, LEDGER_ACCOUNTS, readPostings, type LedgerAccount } from '../../db/settlement.ts'
import { parseUnits } from '../../domain/money.ts'
import { endingOf, EXIT, UsageError } from './exit.ts'
import { periodOf } from './export.ts'
import { createProgram } from './program.ts'
import { escapeFormula, settledRows, type SettledRow } from './settled.ts'

jest.setTimeout(120_000)

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
  await shop.orderIn('delivered')
  const { run } = await shop.orderIn('processing')
  await shop.ask('cancel', run.next())
  const order = await shop.order()
  await recordReport(shop.api, 'w1', [buildObservation(order, { amount: order.amountDue + 10n ** 17n })])
  await assessPayments(shop.worker, runOf(order).next())
  // The ledger cannot be changed; what was posted two days ago is made here past its guard.
  await shop.query(`begin; set local session_replication_role = replica;
    update ledger_posting set posted_at = posted_at - interval '2 days' where posting_no <= 2;
    update ledger_posting set posted_at = posted_at - interval '1 day' where posting_no > 2; commit`)
})
afterAll(() => shop.close())

const dayOf = (ago: number): string => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10)

async function holdfast(...args: string[]): Promise<{ said: string; code: number }> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const shell = {
    config: loadConfig('cli', { DATABASE_URL: shop.test.urlOf('auditor') }),
    write: say,
    complain: say,
    untilInterrupted: () => AbortSignal.any([]),
  }
  const ending = await createProgram(shell)
    .parseAsync([...args, '--ready-file', '/nowhere/ready.json'], { from: 'user' })
    .then(
      () => ({ code: EXIT.ok }),
      (error: unknown) => endingOf(error),
    )
  return { said: said.join(''), code: ending.code }
}

/** Coins with 18 decimals to base units. */
function unitsOf(text: string): bigint {
  const [whole = '0', fraction = ''] = text.replace('-', '').split('.')
  const units = parseUnits(`${whole}${fraction.padEnd(18, '0')}`.replace(/^0+(?=.)/, '')) ?? 0n
  return text.startsWith('-') ? -units : units
}

const COLUMN_OF: Readonly<Record<LedgerAccount, keyof SettledRow>> = {
  received: 'received',
  customerDue: 'customer_due',
  refundDue: 'refund_due',
  refunded: 'refunded',
  fees: 'fees',
  writtenOff: 'written_off',
}

describe('export settled', () => {
  const args = (format: string) => ['export', 'settled', '--from', dayOf(3), '--to', dayOf(0), '--format', format]

  test('has every posting, and its totals are the sums of the ledger, in both formats', async () => {
    const { said, code } = await holdfast(...args('json'))
    expect(code).toBe(EXIT.ok)
    const document = JSON.parse(said) as { timeZone: string; rows: SettledRow[]; reconciles: boolean }
    expect(document).toMatchObject({ timeZone: 'UTC', reconciles: true })
    const of = (record: string) => document.rows.filter((row) => row.record === record)
    const [count] = await shop.query<{ n: bigint }>('select count(*) as n from ledger_posting')
    expect(BigInt(of('posting').length)).toBe(count?.n)
    expect(of('day')).toHaveLength(2)
    const [ledger] = await shop.query<Record<string, string>>(
      `select sum(received) as received, sum(customer_due) as customer_due, sum(refund_due) as refund_due,
         sum(refunded) as refunded, sum(fees) as fees, sum(written_off) as written_off from ledger_posting`,
    )
    for (const account of LEDGER_ACCOUNTS)
      for (const record of ['posting', 'day', 'total', 'ledger']) {
        const column = COLUMN_OF[account]
        const total = of(record).reduce((units, row) => units + unitsOf(row[column]), 0n)
        expect(`${record} ${column} ${total}`).toBe(`${record} ${column} ${ledger?.[column]}`)
      }
    for (const row of document.rows)
      expect(LEDGER_ACCOUNTS.reduce((total, account) => total + unitsOf(row[COLUMN_OF[account]]), 0n)).toBe(0n)

    const csv = await holdfast(...args('csv'))
    const lines = csv.said.trimEnd().split('\n')
    expect(lines[0]).toMatch(/^record,day_utc,posted_at_utc,/)
    expect(lines.slice(1)).toEqual(document.rows.map((row) => Object.values(row).join(',')))
  })

  test('names the rate of the quote, the value at it, and the balance after each posting', async () => {
    const { said } = await holdfast(...args('json'))
    const { rows } = JSON.parse(said) as { rows: SettledRow[] }
    const [first] = rows
    const [order] = await shop.query<{ total: string; rate: string }>(
      `select o.total, i.rate from orders o join invoice i using (order_id) where o.order_id = $1`,
      [first?.order_id],
    )
    expect(first).toMatchObject({ record: 'posting', rate: order?.rate, received_fiat: order?.total })
    expect(first?.running_balance).toBe(first?.received)
  })

  test('leaves out what is not in the days asked for', async () => {
    const { said } = await holdfast('export', 'settled', '--from', dayOf(3), '--to', dayOf(2), '--format', 'json')
    const { rows } = JSON.parse(said) as { rows: SettledRow[] }
    expect(rows.filter(({ record }) => record === 'posting')).toHaveLength(2)
  })

  test.each([
    ['2026-1-1', '2026-01-02'],
    ['2026-02-30', '2026-03-01'],
    ['=1+1', '2026-01-02'],
  ])('refuses days that are none: %s', async (from, to) => {
    expect((await holdfast('export', 'settled', '--from', from, '--to', to)).code).not.toBe(EXIT.ok)
  })
})

test('a period ends before what a transaction in progress could still post', () => {
  const now = Date.parse('2026-05-05T12:00:00Z')
  const [from, to] = [new Date('2026-05-01'), new Date('2026-05-05')]
  expect(periodOf({ from, to }, now).until.toISOString()).toBe('2026-05-05T11:59:50.000Z')
  expect(periodOf({ from, to: from }, now).until.toISOString()).toBe('2026-05-02T00:00:00.000Z')
  expect(() => periodOf({ from: to, to: from }, now)).toThrow(UsageError)
  expect(() => periodOf({ from: new Date('2026-06-01'), to: new Date('2026-06-02') }, now)).toThrow(UsageError)
})

test('totals that are not the sums of the ledger are told', async () => {
  const database = await openTestDatabase({ url: shop.test.urlOf('auditor'), poolSize: 1, applicationName: 'test' })
  const period = { from: new Date(0), until: new Date() }
  const sums = await findLedgerSums(database.sql, period)
  const wrong = sums.map((sum) => ({ ...sum, received: sum.received + 1n }))
  const rows = settledRows(readPostings(database.sql, period), () => Promise.resolve(wrong))
  let next = await rows.next()
  while (next.done !== true) next = await rows.next()
  expect(next.value).toBe(false)
  await database.close()
})

test('text that a spreadsheet would run as a formula is escaped, and amounts are not', () => {
  for (const text of ['=1+1', '+1', '-1', '@SUM(A1)', '\t=1', '＝1']) expect(escapeFormula(text)).toBe(`'${text}`)
  expect(escapeFormula('ETH')).toBe('ETH')
})
