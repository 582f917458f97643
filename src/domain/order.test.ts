import { describe, expect, test } from '@jest/globals'
import {
  ACTOR_ROLES,
  COMMANDS,
  EVENTS,
  hasReached,
  isTerminal,
  mayMove,
  ORDER_STATUSES,
  OUTCOMES,
  statusAfter,
  TRANSITIONS,
} from './order.ts'

/** Requirement D-1, written out again by hand. */
const LEGAL = [
  'pending processing system',
  'pending cancelled customer',
  'pending cancelled admin',
  'pending cancelled system',
  'processing shipped fulfilment',
  'processing shipped admin',
  'processing cancelled customer',
  'processing cancelled admin',
  'processing cancelled system',
  'shipped delivered fulfilment',
  'shipped delivered admin',
]

describe('the moves of an order', () => {
  const cases = ORDER_STATUSES.flatMap((from) =>
    ORDER_STATUSES.flatMap((to) => ACTOR_ROLES.map((role) => ({ from, to, role }))),
  )

  test('are 5 pairs and 11 combinations with a role, of 25 and 150', () => {
    const moves = cases.filter(({ from, to, role }) => mayMove(from, to, role))
    expect(cases).toHaveLength(150)
    expect(moves.map(({ from, to, role }) => `${from} ${to} ${role}`).toSorted()).toEqual(LEGAL.toSorted())
    expect(new Set(moves.map(({ from, to }) => `${from} ${to}`)).size).toBe(5)
  })

  test('are listed once each', () => {
    expect(new Set(TRANSITIONS.map(({ from, to }) => `${from} ${to}`)).size).toBe(TRANSITIONS.length)
    for (const { roles } of TRANSITIONS) expect(new Set(roles).size).toBe(roles.length)
  })

  test('end where nothing leads on', () => {
    const ends = ORDER_STATUSES.filter((status) => TRANSITIONS.every(({ from }) => from !== status))
    expect(ends).toEqual(['delivered', 'cancelled'])
    expect(ORDER_STATUSES.filter(isTerminal)).toEqual(ends)
  })

  test('lead only forward', () => {
    for (const { from, to } of TRANSITIONS) {
      expect(hasReached(to, from)).toBe(true)
      expect(hasReached(from, to)).toBe(false)
    }
  })
})

/** Where a command leads, where it is not refused. */
const COMMAND_TARGET = { cancel: 'cancelled', ship: 'shipped', deliver: 'delivered' } as const

describe('every event in every status', () => {
  test.each([
    ['pending', 'paid', 'processing'],
    ['pending', 'expired', 'cancelled'],
    ['pending', 'cancel', 'cancelled'],
    ['pending', 'ship', 'refused'],
    ['pending', 'deliver', 'refused'],
    ['processing', 'paid', 'stays'],
    ['processing', 'expired', 'stays'],
    ['processing', 'cancel', 'cancelled'],
    ['processing', 'ship', 'shipped'],
    ['processing', 'deliver', 'refused'],
    ['shipped', 'paid', 'stays'],
    ['shipped', 'expired', 'stays'],
    ['shipped', 'cancel', 'refused'],
    ['shipped', 'ship', 'refused'],
    ['shipped', 'deliver', 'delivered'],
    ['delivered', 'paid', 'stays'],
    ['delivered', 'expired', 'stays'],
    ['delivered', 'cancel', 'refused'],
    ['delivered', 'ship', 'refused'],
    ['delivered', 'deliver', 'refused'],
    ['cancelled', 'paid', 'stays'],
    ['cancelled', 'expired', 'stays'],
    ['cancelled', 'cancel', 'refused'],
    ['cancelled', 'ship', 'refused'],
    ['cancelled', 'deliver', 'refused'],
  ] as const)('%s: %s gives %s', (status, event, outcome) => {
    expect(OUTCOMES[status][event]).toBe(outcome)
    const after = outcome === 'stays' ? status : outcome
    expect(statusAfter(status, event)).toBe(after === 'refused' ? undefined : after)
  })

  test('has an outcome, and no other event or status does', () => {
    expect(Object.keys(OUTCOMES)).toEqual([...ORDER_STATUSES])
    for (const status of ORDER_STATUSES) expect(Object.keys(OUTCOMES[status])).toEqual([...EVENTS])
  })

  test('moves an order only where TRANSITIONS does, and everywhere it does', () => {
    const moved = ORDER_STATUSES.flatMap((from) =>
      EVENTS.map((event) => OUTCOMES[from][event])
        .filter((outcome) => outcome !== 'stays' && outcome !== 'refused')
        .map((to) => `${from} ${to}`),
    )
    expect([...new Set(moved)].toSorted()).toEqual(TRANSITIONS.map(({ from, to }) => `${from} ${to}`).toSorted())
  })

  test('refuses people where it does not move, and never the system, whose news may come late or twice', () => {
    for (const status of ORDER_STATUSES) {
      for (const command of COMMANDS) expect(['refused', COMMAND_TARGET[command]]).toContain(OUTCOMES[status][command])
      for (const event of ['paid', 'expired'] as const) expect(OUTCOMES[status][event]).not.toBe('refused')
    }
  })
})

describe('hasReached', () => {
  test('counts the way through the shop, and cancelled as past all of it', () => {
    const way = ['pending', 'processing', 'shipped', 'delivered', 'cancelled'] as const
    for (const [at, status] of way.entries())
      expect(way.filter((goal) => hasReached(status, goal))).toEqual(way.slice(0, at + 1))
  })
})
