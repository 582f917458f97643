// A complete stack for an e2e test: servers, chain and processes on free ports, in a temporary folder.

import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { openDevelopmentChain, type DevelopmentChain } from '../../src/chain/development.ts'
import {
  createAdminClient,
  createClient,
  type CreateOrderResponse,
  type HoldfastClient,
} from '../../src/grpc/client.ts'
import type { Role } from '../../src/domain/access.ts'
import { startStack, type Stack, type StackOptions } from '../../src/servers/stack.ts'
import { addressOf } from '../../src/servers/wiring.ts'
import { compileCache, workflowBundleFile } from './bundle.ts'
import { findTool } from './servers.ts'
import { CALL_WITHIN_MS } from './until.ts'

export const UNIT_PRICE = '12.50'
export const CANARY_ADDRESS = 'Canary Lane 17, 4711 Birdstead'

export type TestStack = Stack & {
  chain: DevelopmentChain
  /** One client per caller, load-balanced over every api process. */
  as: (role: Role, subject: string) => HoldfastClient
  putProduct: (productId: string, units: number) => Promise<void>
  createOrder: (
    client: HoldfastClient,
    userId: number,
    lines: Record<string, number>,
    key?: string,
  ) => Promise<CreateOrderResponse>
  query: <Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]) => Promise<Row[]>
  /** All log output of our processes so far. */
  readLogs: () => Promise<string>
}

export async function startTestStack(
  given: Record<string, string>,
  shape: Pick<StackOptions, 'apis' | 'workers'> = {},
): Promise<TestStack> {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-e2e-'))
  const temporal = {
    serverBinary: process.env['HOLDFAST_TEMPORAL_SERVER'] ?? (await findTool('temporal-server')),
    sqlToolBinary: process.env['HOLDFAST_TEMPORAL_SQL_TOOL'] ?? (await findTool('temporal-sql-tool')),
  }
  const settings = { ...given, ...compileCache(), HOLDFAST_WORKFLOW_BUNDLE: await workflowBundleFile() }
  const stack = await startStack({ dataDir, temporal, mining: 'manual', settings, log: () => undefined, ...shape })
  const pool = new pg.Pool({
    connectionString: stack.databaseUrl,
    max: 2,
    options: '-c search_path=holdfast,pg_catalog',
  })
  pool.on('error', () => undefined)
  const closers: (() => void)[] = []
  const clients = new Map<string, HoldfastClient>()
  const address = `ipv4:${stack.ports.apis.map(({ grpc }) => addressOf(grpc)).join(',')}`
  const [api] = stack.ports.apis
  const admin = createAdminClient({
    address: addressOf(api?.admin ?? 0),
    deadlineMs: CALL_WITHIN_MS,
    token: () => stack.mintToken('admin', '1'),
  })
  closers.push(admin.close)
  return {
    ...stack,
    chain: await openDevelopmentChain(stack.chainUrl ?? ''),
    as: (role, subject) => {
      const known = clients.get(`${role}:${subject}`)
      if (known !== undefined) return known
      const client = createClient({ address, deadlineMs: CALL_WITHIN_MS, token: () => stack.mintToken(role, subject) })
      clients.set(`${role}:${subject}`, client)
      closers.push(client.close)
      return client
    },
    putProduct: async (productId, units) => {
      await admin.catalog.putProduct({
        idempotencyKey: randomUUID(),
        productId,
        name: productId,
        unitPrice: UNIT_PRICE,
        isActive: true,
      })
      const change = { $case: 'onHand', value: BigInt(units) } as const
      await admin.stock.adjustStock({
        idempotencyKey: randomUUID(),
        productId,
        change,
        expectedVersion: 1n,
        reason: 'counted',
      })
    },
    createOrder: (client, userId, lines, key = randomUUID()) =>
      client.order.createOrder({
        idempotencyKey: key,
        userId: BigInt(userId),
        lines: Object.entries(lines).map(([productId, quantity]) => ({
          productId,
          quantity,
          expectedUnitPrice: UNIT_PRICE,
        })),
        asset: 'ETH',
        shippingAddress: CANARY_ADDRESS,
      }),
    query: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      (await pool.query<Row>(text, [...values])).rows,
    readLogs: async () => {
      const dir = join(dataDir, 'log')
      const texts = await Promise.all((await readdir(dir)).map((name) => readFile(join(dir, name), 'utf8')))
      return texts.join('\n')
    },
    stop: async () => {
      for (const close of closers) close()
      await pool.end()
      await stack.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** Products whose stock counters are inconsistent; none in a correct system. */
export const STOCK_VIOLATIONS = `
  select s.product_id from stock s
  where s.reserved < 0 or s.reserved > s.on_hand
    or s.reserved <> (select coalesce(sum(r.quantity), 0) from reservation r where r.product_id = s.product_id and r.state in ('held', 'committed'))
    or s.on_hand <> (select coalesce(sum(m.on_hand_delta), 0) from stock_movement m where m.product_id = s.product_id)
    or s.reserved <> (select coalesce(sum(m.reserved_delta), 0) from stock_movement m where m.product_id = s.product_id)`
