// Payouts in the database: which refunds are to be sent, by which transactions, and what became of them. Each statement
// may be repeated after a crash: what was stored first stays.

import type { Actor } from '../domain/audit.ts'
import type { FeeBearer } from '../domain/refund.ts'
import type { GasPrice, PayoutStatus, PayoutTransaction } from '../domain/payout.ts'
import { statement, type Database } from './connection/pool.ts'

type Runner = Pick<Database, 'run'>

/** The account that sends, on its network. */
export type PayoutSender = { network: string; sender: string; chainId: number }

const EARLIER = statement(
  'payout_earlier',
  `select p.sender, p.nonce,
     array(
       select a.tx_id from payout_attempt a
       where a.payout_id = p.payout_id and a.kind = 'pay' and a.tx_id is not null) as "txIds"
   from payout p where p.refund_id = $1`,
)
export type EarlierPayout = { sender: string; nonce: number; txIds: readonly string[] }
/** Payouts of a refund that failed, with the transactions that would have paid it. */
export async function findEarlierPayouts(database: Runner, refundId: string): Promise<EarlierPayout[]> {
  const rows = await database.run<Omit<EarlierPayout, 'nonce'> & { nonce: bigint }>(EARLIER, [refundId])
  return rows.map((row) => ({ ...row, nonce: Number(row.nonce) }))
}

const PREPARE = statement('payout_prepare', 'select prepare_payout($1, $2, $3, $4, $5, $6, $7, $8) as outcome')
/** Step 1: a refund gets its payout, with a nonce for ever. @returns the result of prepare_payout */
export async function preparePayout(
  database: Runner,
  refundId: string,
  { sender, chainId, chainNonce }: PayoutSender & { chainNonce: number },
  { gasLimit, maxFee, priorityFee, actor }: GasPrice & { gasLimit: bigint; actor: Actor },
): Promise<string> {
  const [row] = await database.run<{ outcome: string }>(PREPARE, [
    ...[refundId, sender, chainId, chainNonce, gasLimit.toString(), maxFee.toString(), priorityFee.toString()],
    JSON.stringify(actor),
  ])
  return row?.outcome ?? 'NOT_FOUND'
}

export type PayoutAttempt = {
  attempt: number
  kind: 'pay' | 'fill'
  transaction: PayoutTransaction
  /** Since a node first took it: the way to a signer that is not online is no sign of a low fee. Before: since it exists. */
  ageMs: number
  /** Undefined: not signed. */
  signed: { raw: string; txId: string } | undefined
}
export type OpenPayout = {
  payoutId: string
  refundId: string
  orderId: string
  network: string
  nonce: number
  status: PayoutStatus
  /** Of the refund, before the fee that its customer bears. */
  amount: bigint
  feeBearer: FeeBearer
  blockHash: string | null
  /** Its network is: whether the refunded money is there is in doubt. */
  isSuspended: boolean
  /** At least one; the oldest first. */
  attempts: readonly PayoutAttempt[]
}

type AttemptRow = Omit<OpenPayout, 'nonce' | 'amount' | 'attempts'> & {
  amount: string
  nonce: bigint
  chainId: bigint
  sender: string
  destination: string
  attempt: number
  kind: 'pay' | 'fill'
  value: string
  gasLimit: bigint
  maxFee: string
  priorityFee: string
  raw: string | null
  txId: string | null
  ageMs: number
}

const OPEN = statement(
  'payout_open',
  `select p.payout_id as "payoutId", p.refund_id as "refundId", p.order_id as "orderId", p.network, p.nonce, p.status, p.amount,
     p.fee_bearer as "feeBearer", p.block_hash as "blockHash", p.chain_id as "chainId", p.sender, p.destination, a.attempt,
     a.kind, a.value, a.gas_limit as "gasLimit", a.max_fee as "maxFee", a.priority_fee as "priorityFee", a.raw,
     a.tx_id as "txId", exists (select from suspended_network n where n.network = p.network) as "isSuspended",
     (extract(epoch from clock_timestamp() - coalesce(a.broadcast_at, a.created_at)) * 1000)::float8 as "ageMs"
   from (
     select * from payout x
     where (x.network, x.sender) = ($1, $2) and x.status not in ('confirmed', 'failed') order by x.nonce limit $3) p
   join payout_attempt a on a.payout_id = p.payout_id
   order by p.nonce, a.attempt`,
)
/** Payouts that are not over, by nonce, with all their transactions. */
export async function findOpenPayouts(
  database: Runner,
  { network, sender }: Pick<PayoutSender, 'network' | 'sender'>,
  limit: number,
): Promise<OpenPayout[]> {
  const rows = await database.run<AttemptRow>(OPEN, [network, sender, limit])
  return [...Map.groupBy(rows, ({ payoutId }) => payoutId).values()].flatMap((attempts) => {
    const [first] = attempts
    if (first === undefined) return []
    const { payoutId, refundId, orderId, network: on, status, feeBearer, blockHash, isSuspended } = first
    const [nonce, amount] = [Number(first.nonce), BigInt(first.amount)]
    const payout = {
      payoutId,
      refundId,
      orderId,
      network: on,
      nonce,
      status,
      amount,
      feeBearer,
      blockHash,
      isSuspended,
    }
    return [{ ...payout, attempts: attempts.map(attemptOf) }]
  })
}

const attemptOf = (row: AttemptRow): PayoutAttempt => ({
  attempt: row.attempt,
  kind: row.kind,
  transaction: {
    chainId: Number(row.chainId),
    sender: row.sender,
    nonce: Number(row.nonce),
    to: row.kind === 'fill' ? row.sender : row.destination,
    value: BigInt(row.value),
    gasLimit: row.gasLimit,
    maxFee: BigInt(row.maxFee),
    priorityFee: BigInt(row.priorityFee),
  },
  ageMs: row.ageMs,
  signed: row.raw === null || row.txId === null ? undefined : { raw: row.raw, txId: row.txId },
})

const SIGN = statement(
  'payout_sign',
  `with signed as (
     update payout_attempt a set raw = $3, tx_id = $4
     where (a.payout_id, a.attempt) = ($1, $2) and a.raw is null
     returning a.payout_id)
   update payout p set status = 'signed' from signed s
   where p.payout_id = s.payout_id and p.status in ('prepared', 'stuck')
     and not exists (select from payout_attempt n where n.payout_id = p.payout_id and n.attempt > $2)`,
)
/** Step 2: stores the signed bytes of a transaction, before any node sees them. The first signature stays. */
export const storeSignature = async (
  database: Runner,
  payoutId: string,
  attempt: number,
  { raw, txId }: { raw: string; txId: string },
): Promise<void> => void (await database.run(SIGN, [payoutId, attempt, raw, txId]))

const BROADCAST = statement(
  'payout_broadcast',
  `with sent as (
     update payout_attempt a set broadcast_at = coalesce(a.broadcast_at, clock_timestamp()) where a.tx_id = $1
     returning a.payout_id)
   update payout p set status = 'broadcast' from sent s where p.payout_id = s.payout_id and p.status = 'signed'`,
)
/** Step 3: a node took the transaction. */
export const noteBroadcast = async (database: Runner, txId: string): Promise<void> =>
  void (await database.run(BROADCAST, [txId]))

const BLOCK = statement(
  'payout_block',
  `update payout p set block_height = $2, block_hash = $3
   where p.payout_id = $1 and p.status not in ('confirmed', 'failed') and p.block_hash is distinct from $3`,
)
/** The block that has one of its transactions now; undefined: none, as after a reorganisation. */
export const notePayoutBlock = async (
  database: Runner,
  payoutId: string,
  block: { height: number; hash: string } | undefined,
): Promise<void> => void (await database.run(BLOCK, [payoutId, block?.height ?? null, block?.hash ?? null]))

const REPLACE = statement('payout_replace', 'select replace_payout($1, $2, $3, $4, $5) as outcome')
/** Adds a transaction with the same nonce and a higher fee. @returns the result of replace_payout */
export async function replacePayout(
  database: Runner,
  payoutId: string,
  after: { attempt: number; kind: 'pay' | 'fill' },
  { maxFee, priorityFee }: GasPrice,
): Promise<string> {
  const values = [payoutId, after.attempt, after.kind, maxFee.toString(), priorityFee.toString()]
  return (await database.run<{ outcome: string }>(REPLACE, values))[0]?.outcome ?? 'refused'
}

const END = statement('payout_end', 'select end_payout($1, $2, $3, $4, $5) as outcome')
/** Step 4: one transaction is final; null: an unknown one has the nonce. @returns the result of end_payout */
export async function endPayout(
  database: Runner,
  payoutId: string,
  final: { txId: string | null; isReverted: boolean; networkFee: bigint },
  actor: Actor,
): Promise<string> {
  const values = [payoutId, final.txId, final.isReverted, final.networkFee.toString(), JSON.stringify(actor)]
  return (await database.run<{ outcome: string }>(END, values))[0]?.outcome ?? 'unknown'
}

const HOLD_SENDER = statement(
  'payout_hold_sender',
  `insert into payout_sender as s (network, sender, chain_id, next_nonce, holder, held_until)
   values ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(secs => $6))
   on conflict (network, sender) do update
     set holder = excluded.holder, held_until = clock_timestamp() + make_interval(secs => $6)
     where s.chain_id = excluded.chain_id
       and (s.holder = excluded.holder or s.held_until is null or s.held_until < clock_timestamp())
   returning s.sender`,
)
/** Acquires or renews the lease of a sending account; false while another process has it, or it is of another chain. */
export async function holdSender(
  database: Runner,
  { network, sender, chainId, chainNonce }: PayoutSender & { chainNonce: number },
  { holder, leaseMs }: { holder: string; leaseMs: number },
): Promise<boolean> {
  const rows = await database.run(HOLD_SENDER, [network, sender, chainId, chainNonce, holder, leaseMs / 1_000])
  return rows.length > 0
}

const RELEASE_SENDER = statement(
  'payout_release_sender',
  'update payout_sender set held_until = null where (network, sender) = ($1, $2) and holder = $3',
)
/** Releases the lease before it expires, so that the next process need not wait. */
export const releaseSender = async (
  database: Runner,
  { network, sender }: Pick<PayoutSender, 'network' | 'sender'>,
  holder: string,
): Promise<void> => void (await database.run(RELEASE_SENDER, [network, sender, holder]))
