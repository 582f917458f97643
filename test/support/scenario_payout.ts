// Write scenarios of payouts, and of orders that wait while their chain is suspended: a part of scenario.ts.

import { randomBytes, randomUUID } from 'node:crypto'
import { resumeChain } from '../../src/db/chain/operation.ts'
import { suspendChain } from '../../src/db/chain/suspension.ts'
import { statement } from '../../src/db/connection/pool.ts'
import { assessPayments, recordReport } from '../../src/db/payment.ts'
import { endPayout, findOpenPayouts, preparePayout, replacePayout, storeSignature } from '../../src/db/payout.ts'
import { settlePayout } from '../../src/db/payout_operation.ts'
import { systemActor } from '../../src/domain/audit.ts'
import type { Scenario, ScenarioContext } from './scenario.ts'
import { newApproved } from './scenario_refund.ts'
import { buildObservation, runOf } from './shop.ts'

const BY = { operator: 'ada', reason: 'looked into' }
const PAYER = systemActor('worker')
const PRICE = { gasLimit: 21_000n, maxFee: 10n, priorityFee: 1n, actor: PAYER }
const RESUME = statement('scenario_resume', 'select resume_orders($1)')
const hex = (bytes: number): string => `0x${randomBytes(bytes).toString('hex')}`

/** An approved refund, and an account that has sent nothing yet. */
async function newPayable(context: ScenarioContext) {
  const { refundId } = await newApproved(context)
  return { refundId, sender: { network: 'ethereum', sender: hex(20), chainId: 31_337, chainNonce: 0 } }
}

async function newSigned(context: ScenarioContext) {
  const { refundId, sender } = await newPayable(context)
  const { worker } = context.databases
  await preparePayout(worker, refundId, sender, PRICE)
  const [payout] = await findOpenPayouts(worker, sender, 1)
  const [payoutId, txId] = [payout?.payoutId ?? '', hex(32)]
  await storeSignature(worker, payoutId, 1, { raw: hex(100), txId })
  return { refundId, payoutId, txId }
}

/** A pending order whose final money is not assessed, on a suspended network of its own. */
async function newSuspended({ shop, databases }: ScenarioContext) {
  const network = `sim-${randomUUID().slice(0, 8)}`
  const order = await shop.order({ network })
  await recordReport(shop.api, 'w1', [buildObservation(order)])
  await suspendChain(databases.watcher, network, 'w1')
  return { network, fence: runOf(order).next() }
}

export const PAYOUT_SCENARIOS: Readonly<Record<string, Scenario>> = {
  'a payout is prepared': {
    of: 'prepare_payout',
    prepare: async (context) => {
      const { refundId, sender } = await newPayable(context)
      return ({ worker }) => preparePayout(worker, refundId, sender, PRICE)
    },
  },
  'a transaction of a payout is replaced': {
    of: 'replace_payout',
    prepare: async (context) => {
      const { payoutId } = await newSigned(context)
      return ({ worker }) => replacePayout(worker, payoutId, { attempt: 1, kind: 'pay' }, { ...PRICE, maxFee: 20n })
    },
  },
  'a transaction of a payout is final': {
    of: 'end_payout',
    prepare: async (context) => {
      const { payoutId, txId } = await newSigned(context)
      return ({ worker }) => endPayout(worker, payoutId, { txId, isReverted: false, networkFee: 21_000n }, PAYER)
    },
  },
  'a refund that an unknown transaction paid is settled': {
    of: 'settle_payout',
    prepare: async (context) => {
      const { refundId, payoutId } = await newSigned(context)
      const { worker } = context.databases
      await endPayout(worker, payoutId, { txId: null, isReverted: false, networkFee: 0n }, PAYER)
      return ({ worker: own }) => settlePayout(own, refundId, { txId: hex(32), networkFee: 21_000n }, PAYER)
    },
  },
  'a paid order waits while its chain is suspended': {
    of: 'suspend_order',
    prepare: async (context) => {
      const { fence } = await newSuspended(context)
      return ({ worker }) => assessPayments(worker, fence)
    },
  },
  'an order goes on once its chain is resumed': {
    of: 'resume_orders',
    prepare: async (context) => {
      const { network, fence } = await newSuspended(context)
      await assessPayments(context.databases.worker, fence)
      await resumeChain(context.databases.watcher, network, BY)
      return ({ worker }) => worker.run(RESUME, [100])
    },
  },
}
