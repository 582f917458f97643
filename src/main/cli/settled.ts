// The export of settled money as rows: each posting of the ledger, the sums of each day, the totals, and the ledger's
// own sums to compare them with. Amounts are decimal strings, exact; debit is positive.

import { FIAT_DECIMALS, formatFiat, formatUnits, parseFiat } from '../../domain/money.ts'
import {
  LEDGER_ACCOUNTS,
  type Amounts,
  type LedgerAccount,
  type LedgerSums,
  type SettledPosting,
} from '../../db/settlement.ts'

export type SettledRow = Readonly<Record<(typeof COLUMNS)[number], string>>

const ACCOUNT_COLUMNS: Readonly<Record<LedgerAccount, (typeof COLUMNS)[number]>> = {
  received: 'received',
  customerDue: 'customer_due',
  refundDue: 'refund_due',
  refunded: 'refunded',
  fees: 'fees',
  writtenOff: 'written_off',
}
/** record: posting, day (sums of a day), total (sums of all postings), ledger (the database's sums). */
export const COLUMNS = [
  'record',
  'day_utc',
  'posted_at_utc',
  'posting',
  'order_id',
  'cause',
  'network',
  'asset',
  'token',
  'unit',
  'received',
  'customer_due',
  'refund_due',
  'refunded',
  'fees',
  'written_off',
  'running_balance',
  'currency',
  'rate',
  'received_fiat',
  'refunded_fiat',
] as const

const EMPTY = Object.fromEntries(COLUMNS.map((column) => [column, ''])) as Record<(typeof COLUMNS)[number], string>

type Money = Pick<SettledPosting, 'network' | 'asset' | 'token' | 'decimals' | 'currency'>
type Sum = Money & Amounts & { receivedFiat: bigint; refundedFiat: bigint; isValued: boolean }

const assetKeyOf = ({ network, asset, token }: Pick<Money, 'network' | 'asset' | 'token'>): string =>
  JSON.stringify([network, asset, token])
const sumKeyOf = (money: Money): string => `${assetKeyOf(money)} ${money.currency}`
const noAmounts = (): Amounts => ({
  received: 0n,
  customerDue: 0n,
  refundDue: 0n,
  refunded: 0n,
  fees: 0n,
  writtenOff: 0n,
})

/** A spreadsheet runs text that begins like a formula: an apostrophe in front makes it text. */
export const escapeFormula = (text: string): string => (/^[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text)

/** The decimals of a token are unknown: its amounts stay in base units. */
const amountOf = (units: bigint, { token, decimals }: Pick<Money, 'token' | 'decimals'>): string => {
  if (token !== null) return units.toString()
  return units < 0n ? `-${formatUnits(-units, decimals)}` : formatUnits(units, decimals)
}
const fiatOf = (minor: bigint): string => (minor < 0n ? `-${formatFiat(-minor)}` : formatFiat(minor))

/** Value in minor units at the rate of the quote, rounded half away from zero. */
function valueOf(units: bigint, rate: string, decimals: number): bigint {
  const rateMinor = parseFiat(rate)
  if (rateMinor === undefined) throw new Error(`a rate with more than ${FIAT_DECIMALS} decimals`)
  const one = 10n ** BigInt(decimals)
  const size = units < 0n ? -units : units
  const value = (2n * size * rateMinor + one) / (2n * one)
  return units < 0n ? -value : value
}

const moneyColumns = (money: Money & Amounts): Partial<SettledRow> => ({
  network: escapeFormula(money.network),
  asset: escapeFormula(money.asset),
  token: escapeFormula(money.token ?? ''),
  unit: money.token === null ? escapeFormula(money.asset) : 'base units',
  ...Object.fromEntries(LEDGER_ACCOUNTS.map((account) => [ACCOUNT_COLUMNS[account], amountOf(money[account], money)])),
})

const sumRow = (record: string, sum: Sum, day = ''): SettledRow => ({
  ...EMPTY,
  record,
  day_utc: day,
  ...moneyColumns(sum),
  currency: escapeFormula(sum.currency),
  ...(sum.isValued && { received_fiat: fiatOf(sum.receivedFiat), refunded_fiat: fiatOf(sum.refundedFiat) }),
})

class Sums {
  readonly #sums = new Map<string, Sum>()

  add(posting: SettledPosting, value: { received: bigint; refunded: bigint } | undefined): void {
    const { network, asset, token, decimals, currency } = posting
    const key = sumKeyOf(posting)
    const sum = this.#sums.get(key) ?? {
      ...{ network, asset, token, decimals, currency, ...noAmounts() },
      ...{ receivedFiat: 0n, refundedFiat: 0n, isValued: true },
    }
    for (const account of LEDGER_ACCOUNTS) sum[account] += posting[account]
    sum.receivedFiat += value?.received ?? 0n
    sum.refundedFiat += value?.refunded ?? 0n
    sum.isValued &&= value !== undefined
    this.#sums.set(key, sum)
  }

  take(): Sum[] {
    const all = [...this.#sums.values()]
    this.#sums.clear()
    return all
  }
}

/**
 * The rows of the export, in order: postings with the sums of their day after them, then totals and the ledger's sums.
 * Returns whether the totals equal the ledger's sums, account by account.
 */
export async function* settledRows(
  postings: AsyncIterable<SettledPosting>,
  findSums: () => Promise<readonly LedgerSums[]>,
): AsyncGenerator<SettledRow, boolean> {
  const [ofDay, ofAll] = [new Sums(), new Sums()]
  const balances = new Map<string, bigint>()
  const decimalsOf = new Map<string, number>()
  let day = ''
  for await (const posting of postings) {
    if (posting.day !== day) for (const sum of ofDay.take()) yield sumRow('day', sum, day)
    day = posting.day
    const { rate, decimals, received, refunded } = posting
    const value =
      rate === null
        ? undefined
        : { received: valueOf(received, rate, decimals), refunded: valueOf(refunded, rate, decimals) }
    ofDay.add(posting, value)
    ofAll.add(posting, value)
    const key = assetKeyOf(posting)
    const balance = (balances.get(key) ?? 0n) + received + refunded
    balances.set(key, balance)
    decimalsOf.set(key, decimals)
    yield {
      ...EMPTY,
      ...{ record: 'posting', day_utc: day, posted_at_utc: posting.postedAt, posting: String(posting.postingNo) },
      ...{ order_id: posting.orderId, cause: posting.cause, ...moneyColumns(posting) },
      running_balance: amountOf(balance, posting),
      ...{ currency: escapeFormula(posting.currency), rate: rate ?? '' },
      ...(value && { received_fiat: fiatOf(value.received), refunded_fiat: fiatOf(value.refunded) }),
    }
  }
  for (const sum of ofDay.take()) yield sumRow('day', sum, day)

  const totals = new Map<string, Amounts>()
  for (const sum of ofAll.take()) {
    yield sumRow('total', sum)
    const total = totals.get(assetKeyOf(sum)) ?? noAmounts()
    for (const account of LEDGER_ACCOUNTS) total[account] += sum[account]
    totals.set(assetKeyOf(sum), total)
  }
  const sums = await findSums()
  for (const sum of sums) {
    const decimals = decimalsOf.get(assetKeyOf(sum)) ?? 0
    yield { ...EMPTY, record: 'ledger', ...moneyColumns({ ...sum, decimals, currency: '' }) }
  }
  return (
    sums.length === totals.size &&
    sums.every((sum) => LEDGER_ACCOUNTS.every((account) => totals.get(assetKeyOf(sum))?.[account] === sum[account]))
  )
}
