// Whose turn it is: the queue alone, with a database that gives stock back when the test says so.

import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { buildLine, buildProposal } from '../../../test/support/builder.ts'
import type { DomainError } from '../../domain/failure.ts'
import type { Entry } from './wait_list.ts'
import { createQueue, MAX_BATCH_ORDERS } from './queue.ts'

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['setImmediate'] })
})
afterEach(() => {
  jest.useRealTimers()
})

type Refused = { name: string; reason: string }

/** A queue whose orders have the names that are their products and quantities. */
function build() {
  const refused: Refused[] = []
  const looks = new Map<string, (isBack: boolean) => void>()
  const look = (productId: string): Promise<boolean> => new Promise((resolve) => looks.set(productId, resolve))
  const queue = createQueue({
    refuse: (entry, error: DomainError) => void refused.push({ name: nameOf(entry), reason: error.reason }),
    reclaim: look,
    isLockedStill: look,
    onReady: () => undefined,
  })
  const nothing = (): void => undefined
  return {
    queue,
    refused,
    /** Queues an order of such products and quantities: `a1 b2`. */
    push: (name: string, overrides: { deadline?: number; signal?: AbortSignal } = {}): void => {
      const lines = name
        .split(' ')
        .map((word) => buildLine({ productId: word.slice(0, 1), quantity: Number(word.slice(1)) }))
      const order = buildProposal({ lines, ...(overrides.deadline !== undefined && { deadline: overrides.deadline }) })
      queue.push({ order, signal: overrides.signal, resolve: nothing, reject: nothing })
    },
    take: (places = 2): Entry[] => queue.take(MAX_BATCH_ORDERS, places),
    /** The reclaim of a product, or the look at its lock, ends. */
    end: async (productId: string, isBack: boolean): Promise<void> => {
      looks.get(productId)?.(isBack)
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

const nameOf = ({ order }: Pick<Entry, 'order'>): string =>
  order.lines.map(({ productId, quantity }) => productId + String(quantity)).join(' ')
const namesOf = (batch: readonly Entry[]): string[] => batch.map(nameOf)
const times = (count: number, act: () => void): void => {
  for (let at = 0; at < count; at += 1) act()
}
/** What the database says of an order that is short of a product. */
const short = (p: string, available: number, returning: number) => [{ p, wanted: 0, available, returning }]

/** Has the first order of the queue wait for its first product. */
function waitFirst({ queue, take }: ReturnType<typeof build>, available = 0, returning = 1_000): Entry {
  const [entry] = take()
  if (entry === undefined) throw new Error('it is no order’s turn')
  queue.wait(entry, short(entry.order.lines[0]?.productId ?? '', available, returning))
  return entry
}

describe('orders behind one that waits for a product', () => {
  test('wait for it too, those of other products do not, and all are taken in their order of arrival', async () => {
    const one = build()
    one.push('a9')
    waitFirst(one)
    for (const name of ['a1', 'b1', 'a2', 'b2']) one.push(name)
    expect(namesOf(one.take())).toEqual(['b1', 'b2'])
    await one.end('a', true)
    expect(namesOf(one.take())).toEqual(['a9', 'a1', 'a2'])
    expect(one.queue.length()).toBe(0)
  })

  test('are not taken beside it when the reclaim got nowhere, unless they fit what is free', async () => {
    const one = build()
    one.push('a9')
    waitFirst(one, 3)
    for (const name of ['a2', 'a4', 'a2', 'a1']) one.push(name)
    expect(namesOf(one.take())).toEqual([])
    await one.end('a', false)
    const asking = one.take()
    expect(namesOf(asking)).toEqual(['a9'])
    // In another batch than the one that asks; together they have no more than the three.
    expect(namesOf(one.take())).toEqual(['a2', 'a1'])
    for (const entry of asking) one.queue.wait(entry, short('a', 0, 6))
    one.push('a1')
    await one.end('a', false)
    expect(namesOf(one.take())).toEqual(['a9'])
    expect(namesOf(one.take())).toEqual([])
  })

  test('are decided at once when they want more than can come back', () => {
    const one = build()
    one.push('a9')
    waitFirst(one, 3, 6)
    for (const name of ['a9', 'a10']) one.push(name)
    expect(namesOf(one.take())).toEqual(['a10'])
  })

  test('of several products wait for each of them, and hold up none that they do not wait for', async () => {
    const one = build()
    for (const name of ['a9', 'c9']) one.push(name)
    const [a, c] = one.take() as [Entry, Entry]
    one.queue.wait(a, short('a', 0, 9))
    one.queue.wait(c, short('c', 0, 9))
    for (const name of ['a1 b1 c1', 'b1', 'c1']) one.push(name)
    expect(namesOf(one.take())).toEqual(['b1'])
    await one.end('a', true)
    expect(namesOf(one.take())).toEqual(['a9'])
    one.queue.settled(a, true)
    await one.end('c', true)
    expect(namesOf(one.take())).toEqual(['c9', 'a1 b1 c1', 'c1'])
  })

  test('keep behind it also while it waits for another product that is not back yet', async () => {
    const one = build()
    one.push('a9 c9')
    const [entry] = one.take() as [Entry]
    one.queue.wait(entry, [...short('a', 0, 9), ...short('c', 0, 9)])
    one.push('a1')
    one.take()
    await one.end('a', true)
    expect(one.take()).toEqual([])
    await one.end('c', true)
    expect(namesOf(one.take())).toEqual(['a9 c9', 'a1'])
  })

  test('are taken together again once the one that asked got what it wanted', async () => {
    const one = build()
    one.push('a9')
    const first = waitFirst(one)
    times(3, () => one.push('a1'))
    one.take()
    await one.end('a', false)
    expect(one.take()).toEqual([first])
    one.queue.settled(first, true)
    expect(namesOf(one.take())).toEqual(['a1', 'a1', 'a1'])
  })

  test('are taken one batch at a time: a later batch would pass those that must wait again', async () => {
    const one = build()
    one.push('a9')
    waitFirst(one)
    times(100, () => one.push('a1'))
    expect(one.take()).toEqual([])
    await one.end('a', true)
    const batch = one.take()
    expect(batch).toHaveLength(MAX_BATCH_ORDERS)
    expect(one.take()).toEqual([])
    for (const entry of batch) one.queue.settled(entry, true)
    expect(one.take()).toHaveLength(101 - MAX_BATCH_ORDERS)
  })

  test('have no more than half of a batch while orders of other products come', async () => {
    const one = build()
    one.push('a9')
    waitFirst(one)
    times(100, () => one.push('a1'))
    one.take()
    await one.end('a', true)
    times(100, () => one.push('b1'))
    expect(namesOf(one.take()).filter((name) => name.startsWith('a'))).toHaveLength(MAX_BATCH_ORDERS / 2)
  })

  test('of a locked product are taken once it is free, whatever they want', async () => {
    const one = build()
    one.push('a9')
    const [first] = one.take() as [Entry]
    one.queue.waitForLock(first, new Set(['a']))
    one.push('a1000')
    expect(one.take()).toEqual([])
    await one.end('a', true)
    expect(one.take()).toEqual([])
    await one.end('a', false)
    expect(namesOf(one.take())).toEqual(['a9', 'a1000'])
  })
})

describe('an order that waits', () => {
  test('leaves when its call ends, and those behind it move up', async () => {
    const one = build()
    const ending = new AbortController()
    one.push('a9', { signal: ending.signal })
    waitFirst(one)
    one.push('a1')
    one.take()
    ending.abort()
    await one.end('a', false)
    expect(namesOf(one.take())).toEqual(['a1'])
    expect(one.refused).toEqual([{ name: 'a9', reason: 'DEADLINE_EXCEEDED' }])
  })

  test.each([
    { what: 'stock to come back', reason: 'STOCK_BEING_RELEASED' },
    { what: 'a lock', reason: 'DATABASE_UNAVAILABLE' },
  ])('for $what is told to try again, $reason, when there is no time left to wait', ({ reason }) => {
    const one = build()
    one.push('a9', { deadline: Date.now() + 50 })
    const [entry] = one.take() as [Entry]
    if (reason === 'DATABASE_UNAVAILABLE') one.queue.waitForLock(entry, new Set(['a']))
    else one.queue.wait(entry, short('a', 0, 9))
    expect(one.refused).toEqual([{ name: 'a9', reason }])
    // No line is left behind: the next is decided.
    one.push('a1')
    expect(namesOf(one.take())).toEqual(['a1'])
  })

  test('is told to try again when the product does not come back in time, each by its own time', () => {
    const one = build()
    one.push('a9')
    waitFirst(one)
    one.push('a1', { deadline: Date.now() + 2_000 })
    jest.advanceTimersByTime(1_000)
    one.push('a2')
    one.take()
    jest.advanceTimersByTime(899)
    expect(one.refused).toEqual([])
    jest.advanceTimersByTime(1)
    expect(namesOfRefused(one.refused)).toEqual(['a1'])
    jest.advanceTimersByTime(3_100)
    expect(namesOfRefused(one.refused)).toEqual(['a1', 'a9'])
    jest.advanceTimersByTime(1_000)
    expect(namesOfRefused(one.refused)).toEqual(['a1', 'a9', 'a2'])
    expect(counted(one.refused)).toEqual({ STOCK_BEING_RELEASED: 3 })
    expect(one.queue.length()).toBe(0)
  })

  test('has one of 1,024 places of its product, and takes none of those who do not wait', () => {
    const one = build()
    one.push('a9')
    waitFirst(one)
    times(1_500, () => one.push('a1'))
    one.take()
    expect(one.queue.length()).toBe(1_024)
    expect(counted(one.refused)).toEqual({ STOCK_BEING_RELEASED: 477 })
    times(4_096, () => one.push('b1'))
    expect(one.refused).toHaveLength(477)
    one.push('b1')
    expect(counted(one.refused)).toEqual({ STOCK_BEING_RELEASED: 477, DATABASE_UNAVAILABLE: 1 })
  })
})

const namesOfRefused = (refused: readonly Refused[]): string[] => refused.map(({ name }) => name)

function counted(refused: readonly Refused[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { reason } of refused) counts[reason] = (counts[reason] ?? 0) + 1
  return counts
}

describe('orders of other products', () => {
  test.each([1, 2])('are in the next batch beside two long lines, with room for %i batches', async (places) => {
    const one = build()
    one.push('a9')
    one.push('c9')
    for (const entry of one.take()) one.queue.wait(entry, short(nameOf(entry).slice(0, 1), 0, 1_000))
    for (const name of ['a1', 'c1']) times(500, () => one.push(name))
    expect(one.take()).toEqual([])
    for (const product of ['a', 'c']) await one.end(product, true)
    for (const entry of [...one.take(), ...one.take(1)]) one.queue.settled(entry, true)
    times(12, () => one.push('b1'))
    expect(namesOf(one.take(places)).filter((name) => name === 'b1')).toHaveLength(12)
  })

  test('have half of the lines of a batch too', async () => {
    const one = build()
    const wide = ['a1', ...Array.from({ length: 101 }, (_, at) => `${String.fromCodePoint(200 + at)}1`)].join(' ')
    one.push('a9')
    waitFirst(one)
    times(20, () => one.push(wide))
    one.take()
    await one.end('a', true)
    one.push('b1 c1 d1')
    expect(namesOf(one.take(1))).toContain('b1 c1 d1')
  })
})

describe('an order whose turn it is', () => {
  test('is taken with the very call that found it, where all before it wait for other products', async () => {
    const one = build()
    one.push('a9')
    one.push('a1 c9')
    const [first, second] = one.take()
    if (first === undefined || second === undefined) throw new Error('both were to be taken')
    one.queue.wait(first, short('a', 0, 1_000))
    one.queue.wait(second, short('c', 0, 1_000))
    await one.end('a', true)
    const [again] = one.take()
    if (again === undefined) throw new Error('its turn had come')
    one.queue.settled(again, true)
    one.push('a1')
    expect(namesOf(one.take())).toEqual(['a1'])
  })

  test('does not wait for one that waited for the lock of its product before, and waits for another now', async () => {
    const one = build()
    one.push('c9')
    one.push('a1 c1')
    const [short9, locked] = one.take()
    if (short9 === undefined || locked === undefined) throw new Error('both were to be taken')
    one.queue.waitForLock(locked, new Set(['a']))
    one.queue.wait(short9, short('c', 0, 1_000))
    await one.end('a', false)
    one.push('a1')
    const taken: string[] = []
    for (let round = 0; round < 3; round += 1) {
      await one.end('c', false)
      for (const entry of one.take()) {
        taken.push(nameOf(entry))
        if (nameOf(entry).includes('c')) one.queue.wait(entry, short('c', 0, 1_000))
      }
    }
    expect(taken).toContain('a1')
    expect(one.refused).toEqual([])
  })
})
