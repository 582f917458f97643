import { expect, test } from '@jest/globals'
import { PaymentReport } from './gen/holdfast/v1/payment.ts'
import { MAX_REPORT_BYTES, packReport, reportIdOf, type ObservedTransfer } from './report.ts'

const buildTransfer = (overrides: Partial<ObservedTransfer> = {}): ObservedTransfer => ({
  asset: 'ETH',
  txId: `0x${'a'.repeat(64)}`,
  outputIndex: 0,
  seq: 1,
  state: 'seen',
  address: `0x${'b'.repeat(40)}`,
  amount: 10n ** 18n,
  block: { height: 21_000_000, hash: `0x${'c'.repeat(64)}` },
  depth: 1,
  firstSeenAt: new Date('2026-11-22T10:00:00Z'),
  ...overrides,
})

test('a report holds as many transfers as fit, and says how many', () => {
  const transfers = Array.from({ length: 10 }, (_, at) => buildTransfer({ outputIndex: at }))
  const { report, count } = packReport('watcher-1', 'ethereum', transfers)
  expect(count).toBe(3)
  expect(report.length).toBeLessThanOrEqual(MAX_REPORT_BYTES)
  const decoded = PaymentReport.decode(report)
  expect(decoded).toMatchObject({ source: 'watcher-1', network: 'ethereum' })
  expect(decoded.observations.map(({ outputIndex }) => outputIndex)).toEqual([0, 1, 2])
})

test('the largest amount and a transfer in no block fit', () => {
  const pending = buildTransfer({ amount: 10n ** 78n - 1n, depth: 0 })
  delete pending.block
  const decoded = PaymentReport.decode(packReport('watcher-1', 'ethereum', [pending]).report)
  expect(decoded.observations[0]).toMatchObject({
    units: '9'.repeat(78),
    blockHeight: undefined,
    blockHash: undefined,
    depth: 0,
  })
})

test('no transfers make no report', () => {
  expect(() => packReport('watcher-1', 'ethereum', [])).toThrow(RangeError)
})

test('a fact has one name, and any other fact another', () => {
  const fact = { txId: '0xaa', outputIndex: 0, state: 'seen', seq: 1, blockHash: '0xbb' } as const
  const names = [
    reportIdOf('ethereum', fact),
    reportIdOf('sepolia', fact),
    reportIdOf('ethereum', { ...fact, seq: 2 }),
    reportIdOf('ethereum', { ...fact, state: 'final' }),
    reportIdOf('ethereum', { ...fact, blockHash: undefined }),
    reportIdOf('ethereum', { ...fact, outputIndex: 1 }),
  ]
  expect(new Set(names).size).toBe(names.length)
  expect(reportIdOf('ethereum', { ...fact })).toBe(names[0])
  expect(names[0]).toMatch(/^[0-9a-f]{64}$/)
})
