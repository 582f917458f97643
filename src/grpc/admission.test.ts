import { describe, expect, test } from '@jest/globals'
import { createAdmission, type Admission } from './admission.ts'

const MANY = 10_000

/** Enters until it is refused. @returns how many calls began */
function fill(admission: Admission, isEssential = false): number {
  let begun = 0
  while (begun < MANY && admission.enter(isEssential)) begun += 1
  return begun
}

const empty = (admission: Admission): void => {
  while (admission.inFlight() > 0) admission.leave()
}

/** Half a second of ticks with this delay. */
const measure = (admission: Admission, delayMs: number): void => {
  for (let tick = 0; tick < 25; tick += 1) admission.measure(delayMs)
}

describe('admission', () => {
  test('bounds the calls in progress, and leaves room for essential ones', () => {
    const admission = createAdmission()
    const begun = fill(admission)
    expect(begun).toBeGreaterThan(500)
    expect(begun).toBeLessThan(MANY)
    expect(fill(admission, true)).toBe(begun)
    admission.leave()
    expect(admission.enter(false)).toBe(false)
    expect(admission.enter(true)).toBe(true)
  })

  test('counts a call that comes back, however many there are', () => {
    const admission = createAdmission()
    const most = fill(admission)
    admission.leave()
    expect(admission.enter(false)).toBe(true)
    admission.rejoin()
    expect(admission.inFlight()).toBe(most + 1)
    expect(admission.enter(false)).toBe(false)
  })

  test('admits less while the event loop is late, and all of it again soon after', () => {
    const admission = createAdmission()
    const most = fill(admission)
    measure(admission, 200)
    empty(admission)
    const fewer = fill(admission)
    expect(fewer).toBeLessThan(most / 2)
    measure(admission, 200)
    measure(admission, 200)
    empty(admission)
    const fewest = fill(admission)
    expect(fewest).toBeGreaterThan(10)
    for (let turn = 0; turn < 20; turn += 1) measure(admission, 1)
    empty(admission)
    expect(fill(admission)).toBe(most)
  })

  test('takes one pause among punctual ticks for no overload', () => {
    const admission = createAdmission()
    const before = admission.limit()
    for (let tick = 0; tick < 100; tick += 1) admission.measure(tick % 4 === 0 ? 1 : 500)
    expect(admission.limit()).toBe(before)
  })

  test('shortens a long queue faster', () => {
    const [slow, fast] = [createAdmission(), createAdmission()]
    for (const [admission, delayMs] of [
      [slow, 60],
      [fast, 500],
    ] as const) {
      fill(admission)
      for (let tick = 0; tick < 5; tick += 1) admission.measure(delayMs)
    }
    expect(fast.limit()).toBeLessThan(slow.limit() * 0.7)
  })

  test('refuses what a turn reads after its time, once a turn has been too long', () => {
    let ms = 0
    let end = (): void => undefined
    const admission = createAdmission({ now: () => ms, afterTurn: (callback) => (end = callback) })
    /** A turn of calls that take 1 ms each. @returns how many were admitted */
    const turn = (calls: number): number => {
      let admitted = 0
      for (let call = 0; call < calls; call += 1) {
        if (admission.isFull(false)) continue
        admitted += 1
        ms += 1
      }
      expect(admission.isFull(true)).toBe(false)
      end()
      return admitted
    }
    expect([turn(40), turn(400), turn(400), turn(400)]).toEqual([40, 400, 64, 64])
    // A pause that is over is forgotten.
    ms += 1_000
    expect([turn(400), turn(10), turn(400)]).toEqual([400, 10, 400])
  })

  test('refuses none of a few calls, however slow they and their turns are', () => {
    let ms = 0
    let end = (): void => undefined
    const admission = createAdmission({ now: () => ms, afterTurn: (callback) => (end = callback) })
    for (let turn = 0; turn < 50; turn += 1) {
      for (let call = 0; call < 16; call += 1) {
        expect(admission.isFull(false)).toBe(false)
        ms += 30
      }
      end()
    }
  })

  test('goes on admitting a few calls, however late the event loop is', () => {
    const admission = createAdmission()
    for (let turn = 0; turn < 100; turn += 1) measure(admission, 10_000)
    expect(fill(admission)).toBeGreaterThan(10)
  })
})
