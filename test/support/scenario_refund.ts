// Write scenarios of refunds: a part of scenario.ts.

import { randomBytes } from 'node:crypto'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { statement } from '../../src/db/connection/pool.ts'
import { approveRefund, rejectRefund, requestRefund, setRefundAddress } from '../../src/db/refund_decision.ts'
import { systemActor } from '../../src/domain/audit.ts'
import { DomainError } from '../../src/domain/failure.ts'
import { ORDER_STATUSES } from '../../src/domain/order.ts'
import { buildAttempt } from './builder.ts'
import { putRefund } from './refund.ts'
import { refundSealer } from './refund_seal.ts'
import type { Scenario, ScenarioContext } from './scenario.ts'
import type { TestShop } from './shop.ts'

const SOON_MS = 30_000
const soon = (): number => Date.now() + SOON_MS
const attemptOf = (method: string, actor = 'user:8') => buildAttempt({ method, actor, by: { actor, role: 'admin' } })
const BEGIN = statement('scenario_begin_payout', 'select begin_payout($1, $2)')
const FINISH = statement('scenario_finish_payout', 'select finish_payout($1, $2, $3, $4)')
const WORKER = JSON.stringify(systemActor('worker'))
const refused = (): DomainError => new DomainError('FIELD_INVALID', 'The address is not taken.')

async function newRefund({ shop }: ScenarioContext, isWithAddress: boolean) {
  const { order } = await shop.orderIn('delivered')
  const seal = refundSealer.sealApproval
  return { orderId: order.orderId, seal, ...(await putRefund(shop.test, order.orderId, { isWithAddress })) }
}

/** Approved by two people. */
export async function newApproved(context: ScenarioContext) {
  const target = await newRefund(context, true)
  for (const actor of ['user:11', 'user:12'])
    await approveRefund(context.shop.api, attemptOf('ApproveRefund', actor), target, soon())
  return target
}

const newPaying = async (context: ScenarioContext) => {
  const target = await newApproved(context)
  await context.shop.worker.run(BEGIN, [target.refundId, WORKER])
  return target
}

/** A cancelled order, whose money is owed. */
async function owing(shop: TestShop): Promise<{ order: AcceptedOrder; refundId: string }> {
  const { order, run } = await shop.orderIn('processing')
  await shop.ask('cancel', run.next())
  const [row] = await shop.query<{ refundId: string }>(
    'select refund_id as "refundId" from refund where order_id = $1',
    [order.orderId],
  )
  return { order, refundId: row?.refundId ?? '' }
}

export const REFUND_SCENARIOS: Readonly<Record<string, Scenario>> = {
  'a refund is requested': {
    of: 'requestRefund',
    prepare: async ({ shop }) => {
      const { order } = await shop.orderIn('delivered')
      const attempt = attemptOf('RequestRefund')
      const request = {
        ...{ orderId: order.orderId, feeBearer: 'shop' as const, reason: 'a scratch', rateOf: () => undefined },
        wish: { kind: 'coin', units: 10n },
      } as const
      return ({ api }) => requestRefund(api, attempt, request, soon())
    },
  },
  'the address of a refund is given': {
    of: 'setRefundAddress',
    prepare: async ({ shop }) => {
      const { order, refundId } = await owing(shop)
      const attempt = attemptOf('SetRefundAddress', 'user:7')
      const given = {
        ...{ orderId: order.orderId, refundId, scope: { ownerId: null, statuses: ORDER_STATUSES } },
        ...{
          isConfirmation: false,
          feeBearer: 'shop' as const,
          seal: refundSealer.sealDestination,
          parse: () => `0x${'1f'.repeat(20)}`,
        },
      } as const
      return ({ api }) => setRefundAddress(api, attempt, given, { refuse: refused, unreachable: refused }, soon())
    },
  },
  'a refund is approved': {
    of: 'approveRefund',
    prepare: async (context) => {
      const target = await newRefund(context, true)
      await approveRefund(context.shop.api, attemptOf('ApproveRefund', 'user:11'), target, soon())
      const attempt = attemptOf('ApproveRefund', 'user:12')
      return ({ api }) => approveRefund(api, attempt, target, soon())
    },
  },
  'an owed refund is rejected, and the next one opens': {
    of: 'rejectRefund',
    prepare: async ({ shop }) => {
      const { order, refundId } = await owing(shop)
      const attempt = attemptOf('RejectRefund')
      const target = { orderId: order.orderId, refundId, version: undefined, reason: 'none' }
      return ({ api }) => rejectRefund(api, attempt, target, soon())
    },
  },
  'a payout begins': {
    of: 'begin_payout settle_refund_state',
    prepare: async (context) => {
      const { refundId } = await newApproved(context)
      return ({ worker }) => worker.run(BEGIN, [refundId, WORKER])
    },
  },
  'a payout is final': {
    of: 'finish_payout',
    prepare: async (context) => {
      const { refundId } = await newPaying(context)
      // A transaction pays one refund.
      const txId = `0x${randomBytes(32).toString('hex')}`
      return ({ worker }) => worker.run(FINISH, [refundId, txId, '21000', WORKER])
    },
  },
}
