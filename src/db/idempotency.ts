// Idempotency store (requirement D-26): the caller's key for one attempt, the hash of its request, and the stored
// answer.

import { sql, type DatabaseTransactionConnection, type SerializableValue } from 'slonik'
import { z } from 'zod'
import type { Actor } from '../domain/audit.ts'
import { KEY_REUSED } from '../domain/command.ts'
import { DomainError } from '../domain/failure.ts'
import { actorText } from './audit/actor.ts'
import { retrying, statement, type Database } from './connection/pool.ts'

export type Attempt = {
  actor: string
  method: string
  /** A UUID. */
  key: string
  /** Keyed hash of the canonical request. */
  requestHash: Buffer
  /** The hash that earlier builds stored for the same request; asked for only where `requestHash` is not the stored one. */
  formerHash?: () => Buffer
  /** The actor for the audit. */
  by: Actor
}

const FIND_ANSWER = statement(
  'idempotency_find',
  `select request_hash = $4 as "isSame", response from idempotency where actor = $1 and method = $2 and key = $3`,
)

/**
 * The stored answer of this attempt, if there is one.
 * @throws {DomainError} IDEMPOTENCY_KEY_REUSED when the key was used for another request
 */
export async function findAnswer<Answer>(
  database: Pick<Database, 'run'>,
  attempt: Omit<Attempt, 'by'>,
  schema: z.ZodType<Answer>,
): Promise<Answer | undefined> {
  const find = (hash: Buffer): Promise<StoredAnswer[]> =>
    database.run<StoredAnswer>(FIND_ANSWER, [attempt.actor, attempt.method, attempt.key, hash])
  const [row] = await find(attempt.requestHash)
  if (row?.isSame !== false || attempt.formerHash === undefined) return row && openAnswer(row, schema)
  const [former] = await find(attempt.formerHash())
  return openAnswer(former ?? row, schema)
}

export type StoredAnswer = { isSame: boolean; response: unknown }

/** @throws {DomainError} IDEMPOTENCY_KEY_REUSED */
export function openAnswer<Answer>({ isSame, response }: StoredAnswer, schema: z.ZodType<Answer>): Answer {
  if (!isSame) throw new DomainError(KEY_REUSED.reason, KEY_REUSED.message)
  return schema.parse(response)
}

/** A batch takes milliseconds: a call that waits for one of its locks does not notice. */
const FORGET_BATCH = 1_000
const FORGET = statement('idempotency_forget', 'select forget_answers($1) as count')

/** Deletes answers that are older than 30 days and whose order, if any, is closed; the database decides which. */
export async function deleteExpiredAnswers(
  database: Pick<Database, 'run'>,
): Promise<{ count: number; isDone: boolean }> {
  const [{ count } = { count: 0 }] = await database.run<{ count: number }>(FORGET, [FORGET_BATCH])
  return { count, isDone: count < FORGET_BATCH }
}

const FOUND = z.object({ isSame: z.boolean(), response: z.unknown() })
const NOTHING = z.unknown()

/**
 * Runs an effect at most once per attempt, in one READ COMMITTED transaction with its answer. It inserts the key first:
 * a concurrent call with the same key waits for that row and then reads the answer. If the effect fails, the
 * transaction is rolled back and the key stays unused.
 * @throws {DomainError} IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_KEY_IN_PROGRESS
 */
export async function answerOnce<Answer extends SerializableValue>(
  database: Pick<Database, 'sql'>,
  attempt: Attempt,
  schema: z.ZodType<Answer>,
  effect: (tx: DatabaseTransactionConnection) => Promise<Answer>,
  deadline: number,
): Promise<{ answer: Answer; isReplay: boolean }> {
  const { actor, method, key, requestHash, formerHash = () => requestHash } = attempt
  const mine = sql.fragment`actor = ${actor} and method = ${method} and key = ${key}`
  const work = async (tx: DatabaseTransactionConnection): Promise<{ answer: Answer; isReplay: boolean }> => {
    const claimed = await claim(tx, attempt)
    if (!claimed) {
      const found = await tx.one(sql.type(FOUND)`
        select request_hash in (${sql.binary(requestHash)}, ${sql.binary(formerHash())}) as "isSame", response
        from idempotency where ${mine}`)
      if (!found.isSame) throw new DomainError(KEY_REUSED.reason, KEY_REUSED.message)
      return { answer: schema.parse(found.response), isReplay: true }
    }
    const answer = await effect(tx)
    await tx.query(sql.type(NOTHING)`update idempotency set response = ${sql.jsonb(answer)} where ${mine}`)
    return { answer, isReplay: false }
  }
  return retrying(() => database.sql.transaction(work), deadline)
}

/**
 * Inserts the key; false if it has been used before. JSON null is a placeholder until the effect has an answer. The
 * role's lock_timeout ends the wait for the row of another call, which is then IDEMPOTENCY_KEY_IN_PROGRESS.
 */
async function claim(
  tx: DatabaseTransactionConnection,
  { actor, method, key, requestHash, by }: Attempt,
): Promise<boolean> {
  const rows = await tx.any(sql.type(NOTHING)`
    insert into idempotency (actor, method, key, request_hash, response)
    select ${actor}, ${method}, ${key}::uuid, ${sql.binary(requestHash)}, 'null'
    from (select set_config('holdfast.actor', ${actorText(by)}, true) as acting offset 0) context where acting is not null
    on conflict do nothing returning key`)
  return rows.length > 0
}
