// Payouts on a real chain: each approved refund is sent exactly once, whatever crashes, is sent again or is reorganised.

import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { z } from 'zod'
import { PAYOUT_MOVES, PAYOUT_STATUSES, type PayoutStatus } from '../domain/payout.ts'
import { CONFIRMATIONS } from '../../test/support/payout.ts'
import { makeDestination, type ApprovedRefund } from '../../test/support/approved_refund.ts'
import { openPayoutFixture, type PayoutFixture } from '../../test/support/payout_fixture.ts'
import type { TestShop } from '../../test/support/shop.ts'
import type { SigningRequest } from './signer.ts'
import type { PayoutDeps } from './deps.ts'
import { payoutTurn } from './turn.ts'

jest.setTimeout(600_000)

const MAX_TURNS = 2_000

let fixture: PayoutFixture
let shop: TestShop
beforeAll(async () => {
  fixture = await openPayoutFixture()
  shop = fixture.shop
})
afterAll(() => fixture.close())

const txIdsOf = async ({ refundId }: ApprovedRefund): Promise<string[]> =>
  (
    await shop.query<{ id: string }>(
      'select a.tx_id as id from payout_attempt a join payout p using (payout_id) where p.refund_id = $1 and a.tx_id is not null',
      [refundId],
    )
  ).map(({ id }) => id)

describe('a payout', () => {
  test('sends an approved refund, waits for its depth, and then the refund is paid', async () => {
    const refund = await fixture.approve()
    const payer = await fixture.makePayer()
    await payoutTurn(payer.deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast', refund: 'paying' })
    for (let depth = 1; depth < CONFIRMATIONS; depth += 1) {
      await payer.chain.mine()
      await payoutTurn(payer.deps)
      expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast', refund: 'paying' })
    }
    await payer.chain.mine()
    await payoutTurn(payer.deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'confirmed', refund: 'paid' })
    expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
    const [row] = await shop.query('select tx_id from refund where refund_id = $1', [refund.refundId])
    expect(await txIdsOf(refund)).toEqual([row?.['tx_id']])
  })

  test('takes the fee from the amount exactly where the customer bears it, and on top where the shop does', async () => {
    const payer = await fixture.makePayer()
    const before = await payer.chain.balanceOf(payer.signer.sender)
    const own = await fixture.approve({ bearer: 'customer' })
    await fixture.turnsUntilPaid(payer, [own])
    const [paid] = await shop.query<{ fee: string }>('select network_fee as fee from refund where refund_id = $1', [
      own.refundId,
    ])
    expect(await payer.chain.balanceOf(own.destination)).toBe(own.amount - BigInt(paid?.fee ?? 0))
    expect(before - (await payer.chain.balanceOf(payer.signer.sender))).toBe(own.amount)

    const shops = await fixture.approve()
    await fixture.turnsUntilPaid(payer, [shops])
    expect(await payer.chain.balanceOf(shops.destination)).toBe(shops.amount)
  })

  test('that lost its block to a reorganisation is sent again as the same transaction', async () => {
    const refund = await fixture.approve()
    const payer = await fixture.makePayer()
    await payoutTurn(payer.deps)
    const first = await txIdsOf(refund)
    await payer.chain.mine()
    await payoutTurn(payer.deps)
    expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
    await payer.chain.rollback(1)
    await payer.chain.drop()
    expect(await payer.chain.balanceOf(refund.destination)).toBe(0n)
    await fixture.turnsUntilPaid(payer, [refund])
    expect(await txIdsOf(refund)).toEqual(first)
    expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
  })

  test('that no block takes gets a higher fee with the same nonce, and is executed once', async () => {
    const refund = await fixture.approve()
    const payer = await fixture.makePayer()
    await payoutTurn(payer.deps)
    await payoutTurn({ ...payer.deps, stuckAfterMs: -1 })
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'stuck', attempts: 2n })
    await fixture.turnsUntilPaid(payer, [refund])
    expect(await txIdsOf(refund)).toHaveLength(2)
    expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
    expect(await payer.chain.countOf(payer.signer.sender)).toBe(1)
  })

  test('that was signed late waits from its sending on before it gets a higher fee', async () => {
    const refund = await fixture.approve()
    const payer = await fixture.makePayer()
    let isSigning = false
    const late = {
      ...payer.signer,
      sign: async (asked: SigningRequest) => (isSigning ? payer.signer.sign(asked) : undefined),
    }
    const deps = { ...payer.deps, signer: late, stuckAfterMs: 60_000 }
    await payoutTurn(deps)
    const age = (column: string) =>
      shop.test.forge(
        `update payout_attempt set ${column} = now() - interval '2 minutes'
         where payout_id = (select payout_id from payout where refund_id = $1)`,
        [refund.refundId],
      )
    await age('created_at')
    isSigning = true
    for (let turn = 0; turn < 3; turn += 1) await payoutTurn(deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast', attempts: 1n })
    await age('broadcast_at')
    await payer.chain.drop()
    await payoutTurn(deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'stuck', attempts: 2n })
    await fixture.turnsUntilPaid({ ...payer, deps }, [refund])
  })

  test('is not sent while its network is suspended, although it was prepared before', async () => {
    const [refund, other] = [await fixture.approve(), await fixture.approve()]
    const payer = await fixture.makePayer()
    let isSigning = false
    const signer = {
      ...payer.signer,
      sign: async (asked: SigningRequest) => (isSigning ? payer.signer.sign(asked) : undefined),
    }
    const deps = { ...payer.deps, signer }
    await payoutTurn(deps)
    const { network } = deps
    await shop.query(`insert into chain_suspension (network) values ($1)`, [network])
    isSigning = true
    await payoutTurn(deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'prepared' })
    await shop.query(`update chain_suspension set closed_at = now(), reason = 'right' where network = $1`, [network])
    await fixture.turnsUntilPaid({ ...payer, deps }, [refund, other])
  })

  test('is confirmed by its first transaction where that was executed before the replacement', async () => {
    const refund = await fixture.approve()
    const payer = await fixture.makePayer()
    await payoutTurn(payer.deps)
    const [first] = await txIdsOf(refund)
    await payoutTurn({ ...payer.deps, stuckAfterMs: -1 })
    await payer.chain.mine()
    await fixture.turnsUntilPaid(payer, [refund])
    const [row] = await shop.query('select tx_id from refund where refund_id = $1', [refund.refundId])
    expect(row?.['tx_id']).toBe(first)
    expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
  })

  test('that was executed without effect has failed, and is not sent again', async () => {
    const contract = makeDestination()
    const refund = await fixture.approve({ destination: contract })
    const payer = await fixture.makePayer()
    await payoutTurn(payer.deps)
    // It refuses money from now on: PUSH0 PUSH0 REVERT.
    await payer.chain.rpc('anvil_setCode', [contract, '0x5f5ffd'], z.unknown())
    await payer.chain.mine(CONFIRMATIONS)
    for (let turn = 0; turn < 3; turn += 1) {
      await payoutTurn(payer.deps)
      await payer.chain.mine()
    }
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'failed', failure: 'reverted', refund: 'paying' })
    expect(await txIdsOf(refund)).toHaveLength(1)
  })

  test('whose nonce an unknown transaction has is failed, and the next nonce goes on behind it', async () => {
    const refund = await fixture.approve()
    const payer = await fixture.makePayer({
      signer: { sender: makeDestination(), sign: async () => undefined, forget: async () => undefined },
    })
    await payoutTurn(payer.deps)
    await payer.chain.rpc('anvil_impersonateAccount', [payer.signer.sender], z.unknown())
    const other = { from: payer.signer.sender, to: makeDestination(), value: '0x1' }
    await payer.chain.rpc('eth_sendTransaction', [other], z.string())
    await payer.chain.mine(2 * CONFIRMATIONS)
    await payoutTurn(payer.deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'failed', failure: 'nonce_taken', nonce: 0n })
  })

  test('is not given up when the node that is asked for receipts is behind the one that counts', async () => {
    const refund = await fixture.approve()
    const payer = await fixture.makePayer()
    await payoutTurn(payer.deps)
    await payer.chain.mine(2 * CONFIRMATIONS - 1)
    const behind = { ...payer.node, findInclusion: async () => undefined, hasTransaction: async () => false }
    await payoutTurn({ ...payer.deps, node: behind })
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast' })
    await payoutTurn(payer.deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'confirmed', refund: 'paid' })
  })
})

describe('crashes', () => {
  test('between any two steps send each of 200 refunds exactly once, with two payers at work', async () => {
    const refunds: ApprovedRefund[] = []
    for (let made = 0; made < 200; made += 1) refunds.push(await fixture.approve({ amount: BigInt(10 ** 15 + made) }))
    const payer = await fixture.makePayer()
    const before = await payer.chain.balanceOf(payer.signer.sender)
    const random = seeded(20_261_127)
    let crashes = 0
    const crash = (): void => {
      if (random() < 0.02) {
        crashes += 1
        throw new Crash('killed')
      }
    }
    const killable = <T extends object>(target: T): T =>
      new Proxy(target, {
        get: (from, name) => {
          const member: unknown = Reflect.get(from, name)
          if (typeof member !== 'function') return member
          return async (...args: unknown[]): Promise<unknown> => {
            crash()
            const answer: unknown = await Reflect.apply(member, from, args)
            crash()
            return answer
          }
        },
      })
    // A lease that has always ended: both are at work at the same time.
    const free = async (): Promise<void> =>
      void (await shop.test.forge('update payout_sender set held_until = null where sender = $1', [
        payer.signer.sender,
      ]))
    const deps = ['one', 'two'].map((holder): PayoutDeps => ({
      ...payer.deps,
      holder,
      database: killable({ run: shop.worker.run }),
      node: killable(payer.node),
      signer: { ...killable(payer.signer), sender: payer.signer.sender },
    }))
    const work = async (own: PayoutDeps): Promise<void> => {
      try {
        await payoutTurn(own)
      } catch (error) {
        if (!(error instanceof Crash)) throw error
      }
    }
    const isPaid = async (): Promise<boolean> =>
      (
        await shop.query(`select from refund where status <> 'paid' and refund_id = any($1)`, [
          refunds.map((each) => each.refundId),
        ])
      ).length === 0
    for (let turn = 0; turn < MAX_TURNS && !(await isPaid()); turn += 1) {
      await Promise.all(deps.map(async (own) => (await free(), work(own))))
      await payer.chain.mine()
    }
    expect(await isPaid()).toBe(true)
    expect(crashes).toBeGreaterThan(50)
    for (const { destination, amount } of refunds) expect(await payer.chain.balanceOf(destination)).toBe(amount)
    expect(await payer.chain.countOf(payer.signer.sender)).toBe(refunds.length)
    const [sums] = await shop.query<{ fee: string; amount: string }>(
      'select sum(network_fee) as fee, sum(amount) as amount from refund where refund_id = any($1)',
      [refunds.map((each) => each.refundId)],
    )
    const spent = before - (await payer.chain.balanceOf(payer.signer.sender))
    expect(spent).toBe(BigInt(sums?.fee ?? 0) + BigInt(sums?.amount ?? 0))
  })
})

class Crash extends Error {}

/** Mulberry32. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

describe('what is not sent', () => {
  test('a refund whose customer bears a fee above it', async () => {
    const payer = await fixture.makePayer()
    payer.deps.node = { ...payer.node, getTip: async () => 10n ** 11n }
    const refund = await fixture.approve({ amount: 10n ** 15n, bearer: 'customer' })
    await payoutTurn(payer.deps)
    expect(await fixture.payoutOf(refund)).toBeUndefined()
    const [row] = await shop.query('select status from refund where refund_id = $1', [refund.refundId])
    expect(row?.['status']).toBe('approved')
  })

  test('a refund to an address that takes payments of the shop, as money that goes round', async () => {
    const payer = await fixture.makePayer()
    const { order } = await shop.orderIn('processing')
    const refund = await fixture.approve({ destination: order.address })
    await payoutTurn(payer.deps)
    expect(await fixture.payoutOf(refund)).toBeUndefined()
  })

  test('anything while the account has too little, or the fee is above the limit', async () => {
    const payer = await fixture.makePayer({ maxFee: 1n })
    const refund = await fixture.approve()
    await payoutTurn(payer.deps)
    expect(await fixture.payoutOf(refund)).toBeUndefined()
    await payer.chain.fund(payer.signer.sender, 5n)
    await payoutTurn({ ...payer.deps, maxFee: 10n ** 12n })
    expect(await fixture.payoutOf(refund)).toBeUndefined()
  })
})

test('the database knows the same moves of a payout', async () => {
  const [payout] = await shop.query<{ id: string }>(
    `select payout_id as id from payout where status = 'confirmed' limit 1`,
  )
  for (const from of PAYOUT_STATUSES)
    for (const to of PAYOUT_STATUSES.filter((each) => each !== from)) {
      const failure = (status: PayoutStatus): string | null => (status === 'failed' ? 'reverted' : null)
      await shop.test.forge('update payout set status = $2, failure = $3 where payout_id = $1', [
        payout?.id,
        from,
        failure(from),
      ])
      const moved = shop.test
        .writeAs(
          'app_worker',
          { actor: 'system:payer', role: 'system' },
          'update payout set status = $2, failure = $3 where payout_id = $1',
          [payout?.id, to, failure(to)],
        )
        .then(
          () => true,
          () => false,
        )
      expect([from, to, await moved]).toEqual([from, to, PAYOUT_MOVES[from].includes(to)])
    }
})
