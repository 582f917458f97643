// Rate limit budgets: how many calls of one class a user and an address may make in a minute.

export const LIMIT_CLASSES = ['health', 'read', 'list', 'watch', 'order', 'command', 'ship', 'report', 'admin'] as const
export type LimitClass = (typeof LIMIT_CLASSES)[number]

/**
 * Calls in 60 s, per user (the token's subject) and per address (IPv6: per /64); and calls of a user that may be in
 * progress at once: for `watch`, its open streams. A machine stands for many people: it has the budget of an address,
 * and as many times more calls at once.
 */
export type Budget = { user: number; address: number; atOnce: number }
export type Budgets = Readonly<Record<LimitClass, Budget>>

export const WINDOW_MS = 60_000
export const MAX_BUDGET = 1_000_000

/**
 * Far above what a person or a well-behaved program does. An address may serve many users (offices, mobile networks),
 * so its budgets are wider. A watcher reports changes only, many in one report; a source may have a budget of its own.
 * Parcels are shipped in batches. Lists are few at once, since each may hold a session for long.
 */
export const DEFAULT_BUDGETS: Budgets = {
  health: { user: 1_200, address: 1_200, atOnce: 32 },
  read: { user: 1_200, address: 12_000, atOnce: 32 },
  list: { user: 300, address: 3_000, atOnce: 8 },
  watch: { user: 120, address: 1_200, atOnce: 20 },
  order: { user: 60, address: 600, atOnce: 32 },
  command: { user: 120, address: 1_200, atOnce: 32 },
  ship: { user: 1_200, address: 1_200, atOnce: 32 },
  report: { user: 10, address: 10, atOnce: 8 },
  admin: { user: 600, address: 1_200, atOnce: 32 },
}

/**
 * Classes whose budgets hold for all api processes together, exactly, by a sliding window in Postgres. The others are
 * limited per process.
 */
export const SHARED_CLASSES: ReadonlySet<LimitClass> = new Set(['order', 'report'])

const isLimitClass = (name: string): name is LimitClass => LIMIT_CLASSES.some((known) => known === name)

const ENTRY = /^([a-z]+|\*)=(\d{1,7})\/(\d{1,7})\/(\d{1,7})$/

export const BUDGETS_RULE = `must be CLASS=USER/ADDRESS/AT_ONCE,… with numbers from 1 to ${MAX_BUDGET}, such as order=60/600/32, and classes out of ${LIMIT_CLASSES.join(', ')}`

/**
 * Budgets from `CLASS=USER/ADDRESS/AT_ONCE,…`; `*` sets all classes, and later entries override earlier ones. Undefined if the
 * text is no such list or a number is outside its range.
 */
export function parseBudgets(text: string): Budgets | undefined {
  const budgets = { ...DEFAULT_BUDGETS }
  for (const entry of text.split(',').filter((part) => part.trim() !== '')) {
    const [, name = '', user, address, atOnce] = ENTRY.exec(entry.trim()) ?? []
    const budget = { user: Number(user), address: Number(address), atOnce: Number(atOnce) }
    const isInRange = Object.values(budget).every((calls) => calls >= 1 && calls <= MAX_BUDGET)
    if (!isInRange || (name !== '*' && !isLimitClass(name))) return undefined
    for (const each of name === '*' ? LIMIT_CLASSES : [name]) budgets[each] = budget
  }
  return budgets
}
