// The people of refunds in kill chaos: customers who give an address of their own for what they are owed, and two admins
// who approve it. They look again and again, as processes that answer them are killed.

import { createHash, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { getAddress } from 'viem'
import { DomainError } from '../../../src/domain/failure.ts'
import { createAdminClient, TransportError } from '../../../src/grpc/client.ts'
import { addressOf } from '../../../src/servers/wiring.ts'
import type { TestStack } from '../stack.ts'
import { CALL_WITHIN_MS } from '../until.ts'
import { readRefunds } from './books.ts'
import type { RefundRow } from './judge.ts'

const LOOK_EVERY_MS = 300
const AT_A_TIME = 8
const ADMINS = ['81', '82'] as const
const ADDRESS_CHARS = 40

export type RefundDesk = { run: (signal: AbortSignal) => Promise<void>; close: () => void }

/** One address per refund, so that the chain shows how often it was sent. */
const destinationOf = (refundId: string): string =>
  getAddress(`0x${createHash('sha256').update(refundId).digest('hex').slice(0, ADDRESS_CHARS)}`)

export function createRefundDesk(stack: TestStack): RefundDesk {
  const address = `ipv4:${stack.ports.apis.map(({ admin }) => addressOf(admin)).join(',')}`
  const admins = ADMINS.map((subject) =>
    createAdminClient({ address, deadlineMs: CALL_WITHIN_MS, token: () => stack.mintToken('admin', subject) }),
  )
  async function act({ refund_id: refundId, order_id: orderId, user_id: userId, status }: RefundRow): Promise<void> {
    const { refund } = stack.as('customer', userId)
    if (status === 'awaiting_destination') {
      const gift = { orderId, refundId, address: destinationOf(refundId) }
      for (const confirm of [false, true])
        await refund.setRefundAddress({ ...gift, idempotencyKey: randomUUID(), confirm })
    }
    for (const admin of admins) {
      const { refunds } = await refund.listRefunds({ orderId })
      const version = refunds.find((each) => each.refundId === refundId)?.version ?? 0n
      await admin.refund.approveRefund({ idempotencyKey: randomUUID(), orderId, refundId, version })
    }
  }
  /** What fails is done at the next look: another version, an approval that was given before, a process that is down. */
  const tryTo = (row: RefundRow): Promise<void> =>
    act(row).catch((error: unknown) => {
      if (!(error instanceof DomainError || error instanceof TransportError)) throw error
    })
  return {
    run: async (signal) => {
      while (!signal.aborted) {
        const waiting = (await readRefunds(stack)).filter(({ status }) => status.startsWith('awaiting_'))
        const work = waiting.values()
        await Promise.all(
          Array.from({ length: AT_A_TIME }, async () => {
            for (const row of work) await tryTo(row)
          }),
        )
        await sleep(LOOK_EVERY_MS)
      }
    },
    close: () => {
      for (const admin of admins) admin.close()
    },
  }
}
