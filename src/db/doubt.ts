// Orders whose payment is in doubt after they were accepted as paid. They are few; a partial index finds them.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Database } from './connection/pool.ts'

const TROUBLE = z.object({ atRisk: z.number(), reversed: z.number() })

/** The number of orders at risk (their payment lost its block) and reversed (it is gone). */
export const countOrdersInDoubt = (database: Pick<Database, 'sql'>): Promise<z.output<typeof TROUBLE>> =>
  database.sql.one(sql.type(TROUBLE)`
    select (count(*) filter (where payment_state = 'at_risk'))::int as "atRisk",
      (count(*) filter (where payment_state = 'reversed'))::int as reversed
    from orders where payment_state in ('at_risk', 'reversed')`)
