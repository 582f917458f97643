// A shop on a development stack: a gRPC client per person, and products in stock.

import { randomUUID } from 'node:crypto'
import { DomainError } from '../../domain/failure.ts'
import { createAdminClient, createClient, type HoldfastClient } from '../../grpc/client.ts'
import { addressOf } from '../../servers/wiring.ts'
import type { Stack } from '../../servers/stack.ts'
import { PEOPLE, type Person } from '../ready_file.ts'
import { given, stockView } from '../cli/view.ts'

/** The version of a stock row before its first change. */
const UNTOUCHED = 1n

export type NewProduct = { productId: string; name: string; unitPrice: string; units: number }
export type StockRow = ReturnType<typeof stockView>

export type Shop = ReturnType<typeof openShop>

/** Opens connections on first use; `close` ends them. */
export function openShop({ ports, mintToken }: Pick<Stack, 'ports' | 'mintToken'>) {
  const [api] = ports.apis
  if (api === undefined) throw new Error('a stack has at least one api')
  const tokenOf = (person: Person) => () => mintToken(PEOPLE[person].role, PEOPLE[person].subject)
  const clients = new Map<Person, HoldfastClient>()
  const adminOf = (person: 'admin' | 'admin2') =>
    createAdminClient({ address: addressOf(api.admin), token: tokenOf(person) })
  const [admin, secondAdmin] = [adminOf('admin'), adminOf('admin2')]

  const as = (person: Person): HoldfastClient => {
    const client = clients.get(person) ?? createClient({ address: addressOf(api.grpc), token: tokenOf(person) })
    clients.set(person, client)
    return client
  }

  return {
    as,
    /** Two people who decide on refunds. */
    admins: [admin, secondAdmin] as const,

    /** Adds a product and its stock, unless they exist already: later changes are kept. */
    async stockProduct({ productId, name, unitPrice, units }: NewProduct): Promise<void> {
      const product = { idempotencyKey: randomUUID(), productId, name, unitPrice, isActive: true }
      await unlessChanged(admin.catalog.putProduct({ ...product, expectedVersion: 0n }))
      const change = { $case: 'onHand', value: BigInt(units) } as const
      const count = { idempotencyKey: randomUUID(), productId, change, reason: 'first delivery' }
      await unlessChanged(admin.stock.adjustStock({ ...count, expectedVersion: UNTOUCHED }))
    },

    readStock: (productIds: readonly string[]): Promise<StockRow[]> => readStock(as('admin'), productIds),

    close(): void {
      for (const client of clients.values()) client.close()
      admin.close()
      secondAdmin.close()
    },
  }
}

async function readStock(client: HoldfastClient, productIds: readonly string[]): Promise<StockRow[]> {
  const { stock } = await client.stock.getAvailability({ productIds: [...productIds] })
  return stock.map((row) => stockView(given(row)))
}

async function unlessChanged(call: Promise<unknown>): Promise<void> {
  try {
    await call
  } catch (error) {
    if (!(error instanceof DomainError && error.reason === 'VERSION_MISMATCH')) throw error
  }
}
