// States of accounts, as the api reads them to refuse tokens early: each change since the last one it has seen.

import { statement, type Database } from './connection/pool.ts'

export type AccountState = {
  userId: bigint
  isDisabled: boolean
  /** The first whole second since the epoch in which a token that counts was issued. */
  tokensFromS: bigint
  version: bigint
}

export type AccountChanges = {
  /** The version of the newest change there is. Below one seen before: the database was restored to an earlier time. */
  newest: bigint
  /** In ascending order of version. */
  changed: AccountState[]
}

type Row = { [Key in keyof AccountState]: AccountState[Key] | null } & { newest: bigint }

// change_account makes versions visible in ascending order: a later read finds nothing below the newest of this one.
const FIND_CHANGED = statement(
  'find_changed_accounts',
  `select n.newest, a.user_id as "userId", a.disabled_at is not null as "isDisabled",
     ceil(extract(epoch from a.tokens_valid_after))::bigint as "tokensFromS", a.version
   from (select coalesce(max(version), 0) as newest from account) n
   left join lateral (select * from account where version > $1 order by version limit $2) a on true
   order by a.version`,
)
export async function findChangedAccounts(
  database: Pick<Database, 'run'>,
  afterVersion: bigint,
  limit: number,
): Promise<AccountChanges> {
  const rows = await database.run<Row>(FIND_CHANGED, [afterVersion, limit])
  return {
    newest: rows[0]?.newest ?? 0n,
    changed: rows.filter((row): row is Row & AccountState => row.userId !== null),
  }
}
