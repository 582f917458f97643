import { describe, expect, test } from '@jest/globals'
import { parsePrice, RATE_DEFAULTS, type RateRules, type RateSourceName } from '../domain/rate.ts'
import { createRegistry } from '../telemetry.ts'
import { createRateBook, type RateBook, type RateBookOptions } from './book.ts'
import { RateSourceError } from './http.ts'
import type { RateSource } from './source.ts'

const RULES: RateRules = {
  leastSources: RATE_DEFAULTS.leastSources,
  maxAgeMs: RATE_DEFAULTS.maxAgeMs,
  maxSpreadBps: BigInt(RATE_DEFAULTS.maxSpreadBps),
  maxJumpBps: BigInt(RATE_DEFAULTS.maxJumpBps),
  jumpHoldMs: RATE_DEFAULTS.jumpHoldMs,
}
const EVERY_MS: number = RATE_DEFAULTS.everyMs
const BEGAN_MS = 1_800_000_000_000

/** A market of sources that say what the test sets: a price, or a failure. */
function open(
  says: Partial<Record<RateSourceName, string | RateSourceError>>,
  more: Partial<Pick<RateBookOptions, 'findEarlier'>> = {},
) {
  let nowMs = 0
  const clocks = { now: () => nowMs, wall: () => BEGAN_MS + nowMs }
  const asked: string[] = []
  const sources = (Object.keys(says) as RateSourceName[]).map((name): RateSource => ({
    name,
    read: async () => {
      asked.push(name)
      const text = says[name] ?? ''
      if (text instanceof RateSourceError) throw text
      const times = { readAtMs: clocks.now(), readAt: new Date(clocks.wall()) }
      return { source: name, text, price: parsePrice(text) ?? 0n, ...times }
    },
  }))
  const registry = createRegistry('test')
  const lines: string[] = []
  const logger = {
    warn: (line: object, message: string) => void lines.push(`${message} ${JSON.stringify(line)}`),
    info: (_line: object, message: string) => void lines.push(message),
  } as never
  const book: RateBook = createRateBook({
    ...{ assets: ['ETH'], sources, rules: RULES, everyMs: EVERY_MS, registry, logger, clocks, ...more },
  })
  const { signal } = new AbortController()
  return {
    says,
    asked,
    lines,
    rate: () => book.rateOf('ETH'),
    turn: async (afterMs = EVERY_MS) => {
      nowMs += afterMs
      await book.refresh(signal)
    },
    wait: (ms: number) => void (nowMs += ms),
    valueOf: async (name: string, labels: object = { asset: 'ETH' }): Promise<number | undefined> => {
      const metric = await registry.getSingleMetric(`holdfast_rate_${name}`)?.get()
      const isSame = (each: { labels: object }): boolean =>
        Object.entries(labels).every(([key, value]) => (each.labels as Record<string, unknown>)[key] === value)
      return metric?.values.find(isSame)?.value
    },
  }
}

describe('the book of rates', () => {
  test('has no rate before its first turn, and says when to come back', () => {
    expect(open({ kraken: '2000', coinbase: '2001' }).rate()).toEqual({ retryAfterMs: 1_000 })
  })

  test('gives the median, with the prices that made it and when they were read', async () => {
    const market = open({ kraken: '2000', coinbase: '2001', bitstamp: '2002.5' })
    await market.turn(0)
    expect(market.rate()).toMatchObject({
      rateMinor: 200_100n,
      origin: {
        rateId: expect.stringMatching(/^[0-9a-f-]{36}$/),
        madeAt: new Date(BEGAN_MS),
        prices: [
          { source: 'kraken', text: '2000' },
          { source: 'coinbase', text: '2001' },
          { source: 'bitstamp', text: '2002.5' },
        ],
      },
    })
  })

  test('gives the same rate to all orders between two turns, and asks no source for them', async () => {
    const market = open({ kraken: '2000', coinbase: '2001' })
    await market.turn(0)
    const first = market.rate()
    market.wait(EVERY_MS - 1)
    expect(market.rate()).toBe(first)
    expect(market.asked).toHaveLength(2)
  })

  test('goes on while one of three sources fails, and refuses with one left, once the others are too old', async () => {
    const market = open({ kraken: '2000', coinbase: '2001', bitstamp: '2002' })
    await market.turn(0)
    market.says.kraken = new RateSourceError('timeout')
    await market.turn()
    expect(market.rate()).toMatchObject({ origin: { prices: [{}, {}, {}] } })
    await market.turn(RULES.maxAgeMs - EVERY_MS + 1)
    expect(market.rate()).toMatchObject({ origin: { prices: [{ source: 'coinbase' }, { source: 'bitstamp' }] } })
    market.says.coinbase = new RateSourceError('status')
    await market.turn()
    await market.turn(RULES.maxAgeMs + 1)
    expect(market.rate()).toEqual({ retryAfterMs: EVERY_MS })
  })

  test('tells a caller to come back when the next turn has ended', async () => {
    const market = open({ kraken: '2000' })
    await market.turn(0)
    market.wait(5_000)
    expect(market.rate()).toEqual({ retryAfterMs: EVERY_MS - 5_000 })
    market.wait(EVERY_MS)
    expect(market.rate()).toEqual({ retryAfterMs: 1_000 })
  })

  test('has no rate once all sources were silent for the longest age, though no turn ended', async () => {
    const market = open({ kraken: '2000', coinbase: '2001' })
    await market.turn(0)
    market.wait(RULES.maxAgeMs)
    expect(market.rate()).toMatchObject({ rateMinor: 200_050n })
    market.wait(1)
    expect(market.rate()).toHaveProperty('retryAfterMs')
    expect(await market.valueOf('available')).toBe(0)
  })

  test('has no rate while a jump is undecided, and the new one when it has lasted', async () => {
    const market = open({ kraken: '2000', coinbase: '2000' })
    await market.turn(0)
    market.says.kraken = market.says.coinbase = '3000'
    await market.turn()
    expect(market.rate()).toHaveProperty('retryAfterMs')
    for (let waitedMs = 0; waitedMs < RULES.jumpHoldMs; waitedMs += EVERY_MS) {
      expect(market.rate()).toHaveProperty('retryAfterMs')
      await market.turn()
    }
    expect(market.rate()).toMatchObject({ rateMinor: 300_000n })
  })

  test('leaves a source alone for as long as it asks', async () => {
    const market = open({ kraken: '2000', coinbase: new RateSourceError('limited', 60_000) })
    await market.turn(0)
    await market.turn(59_999)
    expect(market.asked.filter((name) => name === 'coinbase')).toHaveLength(1)
    await market.turn(1)
    expect(market.asked.filter((name) => name === 'coinbase')).toHaveLength(2)
  })

  test('counts reads and refusals, and shows age and spread', async () => {
    const market = open({ kraken: '1990', coinbase: '2010', bitstamp: new RateSourceError('redirect') })
    await market.turn(0)
    market.wait(3_000)
    expect(await market.valueOf('available')).toBe(1)
    expect(await market.valueOf('age_seconds')).toBe(3)
    expect(await market.valueOf('spread_ratio')).toBe(0.01)
    expect(await market.valueOf('reads_total', { source: 'bitstamp', outcome: 'redirect' })).toBe(1)
    expect(await market.valueOf('reads_total', { source: 'kraken', outcome: 'ok' })).toBe(1)
    market.says.kraken = '1000'
    await market.turn()
    expect(await market.valueOf('refusals_total', { reason: 'spread' })).toBe(1)
  })

  test('logs that a rate was refused once, and once that it is back', async () => {
    const market = open({ kraken: '1000', coinbase: '2010' })
    await market.turn(0)
    await market.turn()
    market.says.kraken = '2009'
    await market.turn()
    expect(market.lines).toEqual([expect.stringMatching(/^rate refused .*"spread"/), 'rate accepted again'])
  })

  test('ends at once when it is stopped, and counts no failure then', async () => {
    const stopping = new AbortController()
    const registry = createRegistry('test')
    const book = createRateBook({
      ...{ assets: ['ETH'], rules: RULES, everyMs: EVERY_MS, registry },
      logger: { warn: () => expect('a warning').toBe('none'), info: () => undefined } as never,
      sources: [{ name: 'kraken', read: async () => (stopping.abort(), Promise.reject(new Error('aborted'))) }],
    })
    await book.run(stopping.signal, () => undefined)
  })
})

describe('after a restart', () => {
  const earlierOf = (rateMinor: bigint, ageMs = 60_000) => ({
    findEarlier: async () => [{ asset: 'ETH' as const, rateMinor, ageMs }],
  })

  test('the first rate is compared with the last one that was stored', async () => {
    const market = open({ kraken: '3000.00', coinbase: '3000.00' }, earlierOf(200_000n))
    await market.turn()
    expect(market.rate()).not.toHaveProperty('rateMinor')
    expect(market.lines.join()).toContain('"refusal":"jump"')
    for (let waitedMs = 0; waitedMs < RULES.jumpHoldMs; waitedMs += EVERY_MS) await market.turn()
    expect(market.rate()).toMatchObject({ rateMinor: 300_000n })
  })

  test('the stored rate is given to no order, however young it is', async () => {
    const market = open({ kraken: '2000.00' }, earlierOf(200_000n, 1))
    await market.turn()
    expect(market.rate()).not.toHaveProperty('rateMinor')
    expect(await market.valueOf('available')).toBe(0)
  })

  test('no rate is accepted until the stored one could be read', async () => {
    let isAway = true
    const market = open(
      { kraken: '3000.00', coinbase: '3000.00' },
      {
        findEarlier: async () => {
          if (isAway) throw new Error('the database is away')
          return []
        },
      },
    )
    await expect(market.turn()).rejects.toThrow('away')
    expect(market.rate()).not.toHaveProperty('rateMinor')
    isAway = false
    await market.turn()
    expect(market.rate()).toMatchObject({ rateMinor: 300_000n })
  })
})
