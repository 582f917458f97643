import { describe, expect, test } from '@jest/globals'
import { addressKeyOf } from './address_key.ts'
import { createBuckets, createInFlight, MAX_KEYS } from './limit.ts'

function createClock() {
  let ms = 0
  return { now: () => ms, pass: (by: number) => void (ms += by) }
}

describe('a token bucket', () => {
  test('lets a minute’s calls through at once, then one for each share of a minute', () => {
    const clock = createClock()
    const buckets = createBuckets({ perMinute: 60, now: clock.now })
    for (let call = 0; call < 60; call += 1) expect(buckets.take('a')).toBe(0)
    expect(buckets.take('a')).toBe(1_000)
    clock.pass(400)
    expect(buckets.take('a')).toBe(600)
    clock.pass(600)
    expect(buckets.take('a')).toBe(0)
    expect(buckets.take('a')).toBeGreaterThan(0)
  })

  test('is one per key, and holds no more than its capacity', () => {
    const clock = createClock()
    const buckets = createBuckets({ perMinute: 2, now: clock.now })
    expect([buckets.take('a'), buckets.take('a'), buckets.take('b')]).toEqual([0, 0, 0])
    expect(buckets.take('a')).toBeGreaterThan(0)
    clock.pass(3_600_000)
    expect([buckets.take('a'), buckets.take('a')]).toEqual([0, 0])
    expect(buckets.take('a')).toBeGreaterThan(0)
  })

  test('takes bounded memory with a million addresses, and remembers the ones that still call', () => {
    const clock = createClock()
    const buckets = createBuckets({ perMinute: 1, now: clock.now })
    buckets.take('busy')
    for (let at = 0; at < 1_000_000; at += 1) {
      buckets.take(`10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`)
      if (at % (MAX_KEYS / 4) === 0) expect(buckets.take('busy')).toBeGreaterThan(0)
    }
    expect(buckets.size()).toBeLessThanOrEqual(MAX_KEYS)
  })
})

test('calls in progress are counted per key, and leave nothing behind', () => {
  const inFlight = createInFlight()
  expect([inFlight.enter('a', 2), inFlight.enter('a', 2), inFlight.enter('a', 2), inFlight.enter('b', 2)]).toEqual([
    ...[true, true, false, true],
  ])
  inFlight.leave('a')
  expect(inFlight.enter('a', 2)).toBe(true)
  for (const key of ['a', 'a', 'b']) inFlight.leave(key)
  expect(inFlight.size()).toBe(0)
})

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['2001:DB8:0:0:1:2:3:4', '2001:db8:0:0::/64'],
  ['2001:db8:0000:0001::', '2001:db8:0:1::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
  ['', 'unknown'],
  ['nonsense', 'unknown'],
])('the address %j counts as %j', (address, key) => expect(addressKeyOf(address)).toBe(key))
