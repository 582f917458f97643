import { createHash } from 'node:crypto'
import { expect, test } from '@jest/globals'
import type { Observation } from '../domain/chain.ts'
import { readSource } from '../../test/support/source.ts'
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

test('the recipe of the proto gives the id of an address in any letter case', () => {
  const recipe = readSource('proto/holdfast/v1/payment.proto').replaceAll(/\s+\/\/ /g, ' ')
  expect(recipe).toContain('seq, asset, address (of ETH in lower case) and units, joined by line feeds')
  const address = `0x${'Bb'.repeat(20)}`
  const { network, txId, block, asset, amount } = buildObservation()
  const covered = [network, txId, 0, 'seen', block?.hash, 1, asset, address.toLowerCase(), amount].join('\n')
  expect(reportIdOf(buildObservation({ address }))).toBe(createHash('sha256').update(covered).digest('hex'))
})

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

test('ids and bytes stay as they are: an api checks what watchers of other builds computed', () => {
  expect(reportIdOf(buildObservation())).toBe('675e504611ac8d9bb259eb351aed6666795767c58557261cf94200a1bd462913')
  expect(reportIdOf(buildObservation({ block: undefined }))).toBe(
    'b0ef024e3fe8a4a7c6de25194e544bad12e43956d32815682c44565791e34cc2',
  )
  const { report } = packReport(SOURCE, HISTORY)
  expect(createHash('sha256').update(report).digest('hex')).toBe(
    '2dbcdf22069b693a39bb5df0f829a51581f31bf6e2db8af53e4f7d6c7b6b6886',
  )
})

test('the id of a watcher of the first build, which covered no amount and no address, is still taken', () => {
  const reportId = '2ce5bb693159c6bdbe696064999935ff731a9695a45098904e1608e5266bcae7'
  const packed = PaymentReport.decode(packReport(SOURCE, [buildObservation()]).report)
  const of = (id: string) =>
    PaymentReport.encode({
      ...packed,
      observations: packed.observations.map((each) => ({ ...each, reportId: id })),
    }).finish()
  expect(unpackReport(of(reportId), 'watcher-1')).toEqual([{ ...buildObservation(), reportId }])
  expect(() => unpackReport(of(`${reportId.slice(1)}0`), 'watcher-1')).toThrow('report_id')
})

test('a fact has one id, and any other fact another', () => {
  const block = { height: 7, hash: '0xbb' }
  const fact = buildObservation({ block })
  const ids = [
    reportIdOf(fact),
    reportIdOf({ ...fact, network: 'sepolia' }),
    reportIdOf({ ...fact, seq: 2 }),
    reportIdOf({ ...fact, state: 'final' }),
    reportIdOf({ ...fact, block: undefined }),
    reportIdOf({ ...fact, outputIndex: 1 }),
    reportIdOf({ ...fact, txId: `0x${'d'.repeat(64)}` }),
    reportIdOf({ ...fact, asset: 'SOL' }),
    reportIdOf({ ...fact, address: `0x${'d'.repeat(40)}` }),
    reportIdOf({ ...fact, amount: 7n }),
  ]
  expect(new Set(ids).size).toBe(ids.length)
  expect(reportIdOf({ ...fact })).toBe(ids[0])
  // An address in the spelling that wallets show is the same address.
  expect(reportIdOf({ ...fact, address: `0x${'B'.repeat(40)}` })).toBe(ids[0])
  expect(ids[0]).toMatch(/^[0-9a-f]{64}$/)
})
