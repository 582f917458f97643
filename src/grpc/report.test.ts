import { createHash } from 'node:crypto'
import { expect, test } from '@jest/globals'
import type { Observation } from '../domain/chain.ts'
import { PaymentReport } from './gen/holdfast/v1/payment.ts'
import { MAX_REPORT_BYTES, packReport, reportIdOf, unpackReport } from './report.ts'

const SOURCE = { source: 'watcher-1', confirmations: 12 }

const buildObservation = (overrides: Partial<Observation> = {}): Observation => ({
  network: 'ethereum',
  asset: 'ETH',
  txId: `0x${'a'.repeat(64)}`,
  outputIndex: 0,
  seq: 1,
  state: 'seen',
  address: `0x${'b'.repeat(40)}`,
  amount: 10n ** 18n,
  block: { height: 21_000_000, hash: `0x${'c'.repeat(64)}` },
  firstSeenAt: new Date('2026-11-22T10:00:00Z'),
  ...overrides,
})
/** The states of one output. */
const HISTORY = [
  buildObservation(),
  buildObservation({ seq: 2, state: 'final' }),
  buildObservation({ seq: 3, state: 'reorged' }),
]

test('a report holds as many observations as fit, and says how many', () => {
  const observations = Array.from({ length: 10 }, (_, at) => buildObservation({ outputIndex: at }))
  const { report, count } = packReport(SOURCE, observations)
  expect(count).toBe(3)
  expect(report.length).toBeLessThanOrEqual(MAX_REPORT_BYTES)
  const decoded = PaymentReport.decode(report)
  expect(decoded).toMatchObject({ source: 'watcher-1', network: 'ethereum' })
  expect(decoded.observations.map(({ outputIndex }) => outputIndex)).toEqual([0, 1, 2])
})

test('the largest amount and an output in no block fit', () => {
  const pending = buildObservation({ amount: 10n ** 78n - 1n, block: undefined })
  const decoded = PaymentReport.decode(packReport(SOURCE, [pending]).report)
  expect(decoded.observations[0]).toMatchObject({
    units: '9'.repeat(78),
    blockHeight: undefined,
    blockHash: undefined,
    depth: 0,
  })
})

test('no observations make no report', () => {
  expect(() => packReport(SOURCE, [])).toThrow(new RangeError('no observation, or one that does not fit a report'))
})

test('observations of two networks make no report', () => {
  const observations = [buildObservation(), buildObservation({ network: 'sepolia' })]
  expect(() => packReport(SOURCE, observations)).toThrow(new RangeError('a report is about one network'))
})

test('what is unpacked is what was packed, under the id of each observation', () => {
  const observations = [...HISTORY.slice(0, 2), buildObservation({ seq: 3, state: 'dropped', block: undefined })]
  expect(unpackReport(packReport(SOURCE, observations).report, 'watcher-1')).toEqual(
    observations.map((each) => ({ ...each, reportId: reportIdOf(each) })),
  )
})

test('ids and bytes are those of the first build, whose reports may still wait in an outbox', () => {
  expect(reportIdOf(buildObservation())).toBe('2ce5bb693159c6bdbe696064999935ff731a9695a45098904e1608e5266bcae7')
  expect(reportIdOf(buildObservation({ block: undefined }))).toBe(
    '4404de18de58a3f0e7300ed3bcdf59f6aaf71f08fdb570e419c9375ad3decb8d',
  )
  const { report } = packReport(SOURCE, HISTORY)
  expect(createHash('sha256').update(report).digest('hex')).toBe(
    '0ac3406ee5a67511088b167ce4bd7fbb80f39b5bf3ee21387fb9bf474de6710c',
  )
})

test('a fact has one id, and any other fact another', () => {
  const block = { height: 7, hash: '0xbb' }
  const fact = { network: 'ethereum', txId: '0xaa', outputIndex: 0, state: 'seen', seq: 1, block } as const
  const ids = [
    reportIdOf(fact),
    reportIdOf({ ...fact, network: 'sepolia' }),
    reportIdOf({ ...fact, seq: 2 }),
    reportIdOf({ ...fact, state: 'final' }),
    reportIdOf({ ...fact, block: undefined }),
    reportIdOf({ ...fact, outputIndex: 1 }),
  ]
  expect(new Set(ids).size).toBe(ids.length)
  expect(reportIdOf({ ...fact })).toBe(ids[0])
  expect(ids[0]).toMatch(/^[0-9a-f]{64}$/)
})
