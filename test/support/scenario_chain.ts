// Write scenarios of the watcher, of operators' chain commands and of late money: a part of scenario.ts.

import { randomBytes, randomUUID } from 'node:crypto'
import { sql } from 'slonik'
import { z } from 'zod'
import { appendBlock, createCursor, rewind } from '../../src/db/chain/cursor.ts'
import { suspendChain } from '../../src/db/chain/suspension.ts'
import { stampStatus } from '../../src/db/chain/status.ts'
import { saveBalances } from '../../src/db/chain/balance.ts'
import {
  allowRewind,
  attributeBalance,
  resumeChain,
  setAside,
  setStart,
  settleReport,
} from '../../src/db/chain/operation.ts'
import type { Scenario, ScenarioContext } from './scenario.ts'
import { LATE_SCENARIOS } from './scenario_late.ts'

/** A new chain with one block and one transfer to an order in it. */
async function newChain({ shop, databases }: ScenarioContext) {
  const order = await shop.order({ network: `sim-${randomUUID().slice(0, 8)}` })
  const { network, address } = order
  const cursor = await createCursor(databases.watcher, network, 1)
  const blockAt = (height: number) => ({
    ...{ height, hash: `0x${height}`, parentHash: `0x${height - 1}`, minedAt: new Date(), chainTime: new Date() },
    outputs: [
      { asset: 'ETH' as const, txId: `0x${randomBytes(32).toString('hex')}`, outputIndex: 0, address, amount: 7n },
    ],
  })
  return { network, address, cursor, blockAt }
}

/** A network where an order's address holds money that no transfer explains. */
async function newEvidence(context: ScenarioContext) {
  const { network, address, blockAt } = await newChain(context)
  const block = { ...blockAt(1), outputs: [] }
  await appendBlock(context.databases.watcher, network, block, 2)
  const save = (database: ScenarioContext['databases']['watcher']) =>
    saveBalances(database, network, block, new Map([[address, 10n ** 18n]]))
  return { network, address, block, save }
}

const OUTPUT = z.object({ txId: z.string(), outputIndex: z.number() })
const BY = { operator: 'ann', reason: 'test' }

export const CHAIN_SCENARIOS: Readonly<Record<string, Scenario>> = {
  ...LATE_SCENARIOS,
  'a chain is suspended': {
    of: 'suspendChain',
    prepare: async () => {
      const network = `sim-${randomUUID().slice(0, 8)}`
      return ({ watcher }) => suspendChain(watcher, network, 'w1')
    },
  },
  'a chain is resumed': {
    of: 'resumeChain',
    prepare: async ({ databases }) => {
      const network = `sim-${randomUUID().slice(0, 8)}`
      await suspendChain(databases.watcher, network, 'w1')
      return ({ watcher }) => resumeChain(watcher, network, BY)
    },
  },
  'a block is followed': {
    of: 'appendBlock',
    again: 'CursorMovedError',
    prepare: async (context) => {
      const { databases } = context
      const { network, blockAt } = await newChain(context)
      await appendBlock(databases.watcher, network, blockAt(1), 2)
      const next = blockAt(2)
      return ({ watcher }) => appendBlock(watcher, network, next, 2)
    },
  },
  'a block is undone': {
    of: 'rewind',
    again: 'CursorMovedError',
    prepare: async (context) => {
      const { databases } = context
      const { network, blockAt } = await newChain(context)
      const cursor = await appendBlock(databases.watcher, network, blockAt(1), 2)
      return ({ watcher }) => rewind(watcher, network, cursor, 0)
    },
  },
  'the time of a chain is vouched for': {
    of: 'stampStatus',
    rewrites: ['chain_status'],
    prepare: async (context) => {
      const { network, block } = await newEvidence(context)
      const stamp = { tip: block, askedAt: new Date(), isVouched: true, confirmations: 12, comparesBalances: true }
      return ({ watcher }) => stampStatus(watcher, network, stamp)
    },
  },
  'balances are stored': {
    of: 'saveBalances',
    rewrites: ['chain_balance'],
    prepare: async (context) => {
      const { save } = await newEvidence(context)
      return ({ watcher }) => save(watcher)
    },
  },
  'unexplained money is attributed': {
    of: 'attributeBalance',
    prepare: async (context) => {
      const { network, address, save } = await newEvidence(context)
      await save(context.databases.watcher)
      return ({ watcher }) => attributeBalance(watcher, network, address, BY)
    },
  },
  'unexplained money is set aside': {
    of: 'setAside',
    prepare: async (context) => {
      const { network, address, save } = await newEvidence(context)
      await save(context.databases.watcher)
      return ({ watcher }) => setAside(watcher, network, address, BY)
    },
  },
  'an output is reported again': {
    of: 'settleReport settle_report',
    // Each repetition is an operator's decision, and is audited.
    rewrites: ['chain_operation', 'chain_output', 'chain_report', 'audit_entry'],
    prepare: async (context) => {
      const { network, address, save } = await newEvidence(context)
      await save(context.databases.watcher)
      await attributeBalance(context.databases.watcher, network, address, BY)
      const output = await context.databases.watcher.sql.one(sql.type(OUTPUT)`
        select tx_id as "txId", output_index as "outputIndex" from chain_output where network = ${network}`)
      return ({ watcher }) => settleReport(watcher, network, 'report_again', output, BY)
    },
  },
  'a chain is started elsewhere': {
    of: 'setStart',
    // Each repetition is an operator's confirmation, and is audited.
    rewrites: ['chain_operation', 'chain_status', 'chain_balance', 'audit_entry'],
    prepare: async (context) => {
      const { network } = await newEvidence(context)
      return ({ watcher }) => setStart(watcher, network, 1, BY)
    },
  },
  'a deep reorganisation is allowed': {
    of: 'allowRewind',
    rewrites: ['chain_operation', 'chain_status', 'audit_entry'],
    prepare: async (context) => {
      const { network } = await newEvidence(context)
      return ({ watcher }) => allowRewind(watcher, network, 0, BY)
    },
  },
}
