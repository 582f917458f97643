// Refuses the tokens of accounts that were disabled or whose tokens were revoked (requirement C-6). All calls of a process
// share one incremental read of the changes: at most two statements a second, and none while there are no calls. What
// was read longer than a second ago admits no call.

import { findChangedAccounts, type AccountState } from '../db/account.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Principal } from '../domain/access.ts'
import { DomainError, RETRY_HINT_MS } from '../domain/failure.ts'
import { credentialsInvalid } from '../domain/token_check.ts'

/** Calls may rely on a read until it is this old. */
const FRESH_MS = 1_000
/** A read this old is replaced while calls still rely on it, so that none of them waits. */
const REFRESH_MS = 500
/** A call waits no longer than this for a fresh copy: it must be able to answer within its deadline. */
const READ_WITHIN_MS = 3_000
const PAGE = 5_000
/** No token is valid for as long: a revocation before this no longer refuses anything. */
const FORGOTTEN_AFTER_S = 3_600
const MS_PER_S = 1_000

export type Accounts = {
  /** Rejects with CREDENTIALS_INVALID, or DATABASE_UNAVAILABLE if the state of accounts is not known well enough. */
  assertActive: (principal: Principal) => Promise<void>
  /** Calls `end` once the principal's account no longer admits it. Returns what ends the subscription. */
  follow: (principal: Principal, end: (reason: DomainError) => void) => () => void
}

type Follower = { principal: Principal; end: (reason: DomainError) => void }
type Options = { now?: () => number }

export function createAccounts(
  database: Pick<Database, 'run'>,
  { now = () => performance.now() }: Options = {},
): Accounts {
  const followers = new Set<Follower>()
  let timer: NodeJS.Timeout | undefined

  const copy = createCopy(database, now, () => {
    for (const { principal, end } of followers) if (!copy.isActive(principal)) end(credentialsInvalid('account'))
  })
  const look = (): void => {
    timer = undefined
    // A read that fails is repeated; the streams themselves fail where they read the database.
    copy
      .read()
      .catch(() => undefined)
      .finally(schedule)
  }
  function schedule(): void {
    if (followers.size > 0) timer ??= setTimeout(look, REFRESH_MS)
  }

  /** Reads until the copy is fresh: a read that took long is old when it ends, as on a busy machine. */
  async function renew(): Promise<void> {
    const deadline = now() + READ_WITHIN_MS
    while (copy.ageMs() >= FRESH_MS) {
      if (now() >= deadline) throw stateUnknown()
      await within(deadline - now(), copy.read())
    }
  }

  return {
    assertActive: async (principal) => {
      if (copy.ageMs() >= FRESH_MS) await renew()
      else if (copy.ageMs() >= REFRESH_MS) copy.read().catch(() => undefined)
      if (!copy.isActive(principal)) throw credentialsInvalid('account')
    },
    follow: (principal, end) => {
      const follower = { principal, end }
      followers.add(follower)
      schedule()
      // Between the check of the call and this line, a read may have ended.
      if (!copy.isActive(principal)) end(credentialsInvalid('account'))
      return () => {
        followers.delete(follower)
        if (followers.size > 0) return
        clearTimeout(timer)
        timer = undefined
      }
    },
  }
}

/** The process's copy of the accounts that refuse any token, and how old it is. */
function createCopy(database: Pick<Database, 'run'>, now: () => number, onRead: () => void) {
  const states = new Map<bigint, Pick<AccountState, 'isDisabled' | 'tokensFromS'>>()
  let cursor = 0n
  let readAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined

  const apply = ({ userId, isDisabled, tokensFromS, version }: AccountState): void => {
    cursor = version
    const isOver = !isDisabled && Number(tokensFromS) < Date.now() / MS_PER_S - FORGOTTEN_AFTER_S
    if (isOver) states.delete(userId)
    else states.set(userId, { isDisabled, tokensFromS })
  }

  async function readChanges(): Promise<void> {
    for (;;) {
      const beganAt = now()
      const { newest, changed } = await findChangedAccounts(database, cursor, PAGE)
      if (newest < cursor) {
        // The database was restored to an earlier time: what came after it did not happen.
        states.clear()
        cursor = 0n
        readAt = Number.NEGATIVE_INFINITY
        continue
      }
      changed.forEach(apply)
      if (changed.length === PAGE) continue
      readAt = beganAt
      return onRead()
    }
  }

  return {
    ageMs: (): number => now() - readAt,
    isActive: ({ userId, issuedAtS = 0 }: Principal): boolean => {
      const state = userId === undefined ? undefined : states.get(userId)
      return state === undefined || (!state.isDisabled && BigInt(issuedAtS) >= state.tokensFromS)
    },
    /** One read at a time, which all callers share. */
    read: (): Promise<void> => {
      reading ??= readChanges().finally(() => (reading = undefined))
      return reading
    },
  }
}

/** Waits for a read, and turns any failure of it into DATABASE_UNAVAILABLE. */
async function within(limitMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(stateUnknown()), limitMs)
  })
  try {
    await Promise.race([work, late])
  } catch (cause) {
    throw stateUnknown(cause)
  } finally {
    clearTimeout(timer)
  }
}

const stateUnknown = (cause?: unknown): DomainError =>
  new DomainError('DATABASE_UNAVAILABLE', 'The database cannot be reached; try again.', {
    retryAfterMs: RETRY_HINT_MS.outage,
    cause,
  })
