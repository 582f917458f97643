// Independence of server settings: a server, a database and roles write values in other formats than ours. An order's
// whole path through the front works, and its audit is sealed and verified.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { sql } from 'slonik'
import { z } from 'zod'
import { DATABASE_ROLES, type DatabaseRole } from '../../../test/support/servers.ts'
import { openTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { admin, createTestFront, customer, type TestFront } from '../../../test/support/front.ts'
import { createTestSealer, type TestSealer } from '../../../test/support/sealing.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { grantLogins } from '../cluster.ts'
import { migrate } from '../migrate.ts'
import { statement } from './pool.ts'
import { VALUE_FORMS } from './session.ts'

const FOREIGN = {
  datestyle: 'German',
  intervalstyle: 'sql_standard',
  timezone: 'Asia/Kathmandu',
  bytea_output: 'escape',
  extra_float_digits: '-15',
  // Not a format, but as easily set for a whole server.
  default_transaction_isolation: 'serializable',
}

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop({ prepare: setForeign })
})
afterAll(() => shop.close())

/** Settings of the database, and a different one for one role. */
async function setForeign({ name, query }: TestDatabase): Promise<void> {
  for (const [setting, value] of Object.entries(FOREIGN))
    await query(`alter database ${name} set ${setting} = '${value}'`)
  await query(`alter role app_api in database ${name} set datestyle = 'SQL, DMY'`)
}

describe('on a server that writes dates, intervals, bytes and zones in forms of its own', () => {
  test.each(DATABASE_ROLES)('a session of %s reads ours, by either door', async (role: DatabaseRole) => {
    const database = await openTestDatabase({ url: shop.test.urlOf(role), poolSize: 2, applicationName: 'test-form' })
    const ours = { ...VALUE_FORMS, default_transaction_isolation: 'readcommitted' }
    const names = Object.keys(ours)
    const text = `select name, setting from pg_settings where lower(name) = any('{${names.join(',')}}')`
    try {
      const byPg = await database.run<{ name: string; setting: string }>(statement('form_all', text))
      const bySlonik = await database.sql.any(sql.type(z.object({ name: z.string(), setting: z.string() }))`
        select name, setting from pg_settings where lower(name) = any(${sql.array(names, 'text')})`)
      for (const rows of [byPg, bySlonik]) {
        const found = Object.fromEntries(
          rows.map(({ name, setting }) => [name.toLowerCase(), setting.replaceAll(' ', '')]),
        )
        expect(found).toEqual(ours)
      }
    } finally {
      await database.close()
    }
  })

  test('migrations and the set-up of logins run', async () => {
    await expect(migrate(shop.test.url)).resolves.toMatchObject({ applied: [] })
    await grantLogins(shop.test.url, [])
  })

  describe('an order', () => {
    let front: TestFront
    let sealing: TestSealer
    beforeAll(async () => {
      front = await createTestFront(shop.test)
      sealing = await createTestSealer(shop.test)
    })
    afterAll(async () => {
      await sealing.close()
      await front.stop()
    })

    test('is accepted, paid, shipped and delivered, is told to its owner with true times, and its audit verifies', async () => {
      const { order } = await shop.orderIn('delivered')
      await shop.orderIn('cancelled')
      const { order: told } = await front.as(admin).order.getOrder({ orderId: order.orderId })
      const createdAt = told?.createdAt?.getTime() ?? 0
      expect(Math.abs(Date.now() - createdAt)).toBeLessThan(60_000)
      const [{ owner } = { owner: 0n }] = await shop.query<{ owner: bigint }>(
        'select user_id as owner from orders where order_id = $1',
        [order.orderId],
      )
      const { orders } = await front.as(customer(Number(owner))).order.listOrders({})
      expect(orders.map(({ state }) => state?.orderId)).toContain(order.orderId)
      await sealing.seal()
      expect(await sealing.verify()).toMatchObject({ findings: [], unsealed: 0 })
    })
  })
})
