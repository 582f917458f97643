// «Add an order status» of docs/recipes.md, done as it stands there: its SQL runs on a scratch database, as a migration
// would, and an order moves into the new status and on.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { claimNotifications } from '../src/db/notification.ts'
import { ORDER_STATUSES } from '../src/domain/order.ts'
import { createTestShop, type TestShop } from './support/shop.ts'
import { readSource } from './support/source.ts'

const FULFILMENT = { actor: 'user:9', role: 'fulfilment' } as const
const LEASED = 100
const ILLEGAL_MOVE = 'HF002'

const chapter = /\n## Add an order status\n([\s\S]*?)\n## /.exec(readSource('docs/recipes.md'))?.[1] ?? ''
const recipe = [...chapter.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, text]) => text ?? '').join('\n')

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

const move = (orderId: string, status: string, role: 'fulfilment' | 'customer' = 'fulfilment'): Promise<void> =>
  shop.test.writeAs('app_worker', { ...FULFILMENT, role }, 'update orders set status = $2 where order_id = $1', [
    orderId,
    status,
  ])

test('every check of the database that lists the statuses is widened by the recipe', async () => {
  const checks = await shop.query<{ name: string }>(
    `select conname as name from pg_constraint
     where contype = 'c' and connamespace = 'holdfast'::regnamespace and conparentid = 0
       and pg_get_constraintdef(oid) like all ($1::text[]) order by 1`,
    [ORDER_STATUSES.map((status) => `%'${status}'%`)],
  )
  expect(checks.map(({ name }) => name)).toEqual(['notification_status', 'orders_status'])
  for (const { name } of checks) {
    const text = recipe.slice(recipe.indexOf(`add constraint ${name}`)).split(';')[0] ?? ''
    expect(ORDER_STATUSES.filter((status) => !text.includes(`'${status}'`))).toEqual([])
  }
})

test('an order moves into the new status and on, the world is told, and nobody else may move it', async () => {
  await shop.query(`begin; set local role holdfast_owner; set local search_path = holdfast; ${recipe}; commit`)
  const { order } = await shop.orderIn('processing')
  await expect(move(order.orderId, 'packed', 'customer')).rejects.toMatchObject({ code: ILLEGAL_MOVE })

  await move(order.orderId, 'packed')
  expect(await shop.state(order)).toMatchObject({ status: 'packed', paymentState: 'paid', reservation: 'committed' })
  await move(order.orderId, 'shipped')

  expect(
    await shop.query('select status from notification where order_id = $1 order by notification_id', [order.orderId]),
  ).toEqual(['pending', 'processing', 'packed', 'shipped'].map((status) => ({ status })))
  await shop.query(`update notification set delivered_at = clock_timestamp() where status in ('pending', 'processing')`)
  const claimed = await claimNotifications(shop.worker, 'recipe', LEASED, 'log')
  expect(claimed.map(({ orderId, status }) => ({ orderId, status }))).toEqual([
    { orderId: order.orderId, status: 'packed' },
  ])
  const [audit] = await shop.query<{ body: string }>(
    `select body from audit_entry where kind = 'order' and aggregate_id = $1 and body like '%packed%' order by seq limit 1`,
    [order.orderId],
  )
  expect(audit?.body).toContain('user:9')
})
