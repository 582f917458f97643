// Pre-deployment checks against a running api: one check for each of PRE-1 to PRE-12. They call it as a customer would,
// read its operators' port, and look at the database with the api's own role. They write nothing.

import { randomUUID } from 'node:crypto'
import { ConfigError, loadConfig, type Config } from '../config.ts'
import { findMissingOrderTriggers, findUnauditedChanges, readSessionRights } from '../db/safeguard.ts'
import type { Database } from '../db/connection/pool.ts'
import { DomainError } from '../domain/failure.ts'
import { LIMIT_CLASSES, MAX_BUDGET, parseBudgets } from '../domain/limit.ts'
import type { HoldfastClient } from '../grpc/client.ts'
import { runCheck, type CheckResult } from './dependency.ts'
import { inspectSecrets } from './preflight.ts'

export type Deployed = {
  config: Config<'api'>
  env: NodeJS.ProcessEnv | undefined
  /** A client of the public port with a customer's token, over TLS where the api serves it. */
  client: HoldfastClient
  /** Two clients without TLS, of the public and of the admin port. */
  plain: readonly Pick<HoldfastClient, 'health'>[]
  /** `http://host:port` of the operators' listener. */
  metricsUrl: string
  /** With the api's role. */
  database: Pick<Database, 'sql'>
}

const SECURITY_HEADERS = ['content-security-policy', 'x-content-type-options', 'x-frame-options', 'cache-control']
const FOREIGN_ORIGIN = 'https://foreign.example'
/** A page of an id that only a text pasted into SQL would find more for. */
const INJECTION = `x' or '1'='1`
const ANSWER_WITHIN_MS = 5_000

/** Never rejects: what could not be checked is a finding. */
export const checkDeployed = (deployed: Deployed): Promise<CheckResult[]> =>
  Promise.all(Object.entries(CHECKS).map(([check, find]) => runCheck({ check, find: () => find(deployed) })))

type Find = (deployed: Deployed) => Promise<string | undefined>

const CHECKS: Readonly<Record<string, Find>> = {
  'PRE-1: production mode, with secrets that it accepts': async ({ config, env }) =>
    config.HOLDFAST_MODE === 'production' ? refusalOf(env) : 'HOLDFAST_MODE is not production',
  'PRE-2: no answer without TLS': async ({ config, plain }) => {
    if (config.HOLDFAST_TLS === 'terminated-by-proxy') return undefined
    const answers = await Promise.all(plain.map(({ health }) => isAnswered(health.check({}))))
    return answers.includes(true) ? 'a port answers calls in clear: set HOLDFAST_TLS_CERT_FILE' : undefined
  },
  'PRE-3: security headers on HTTP': async (deployed) => {
    const headers = await headersOf(deployed)
    const missing = SECURITY_HEADERS.filter((name) => headers.get(name) === null)
    return missing.length === 0 ? undefined : `no ${missing.join(', ')}`
  },
  'PRE-4: no CORS for a foreign origin': async (deployed) =>
    (await headersOf(deployed)).get('access-control-allow-origin') === null ? undefined : 'a foreign origin may read',
  'PRE-5: an invalid field is refused': async ({ client }) =>
    expectRefusal('FIELD_INVALID', client.order.getOrder({ orderId: 'no id' })),
  'PRE-6: no order of another customer': async ({ client }) =>
    expectRefusal('PERMISSION_DENIED', client.order.getOrder({ orderId: randomUUID() })),
  'PRE-7: no right that the role does not have': async ({ client }) =>
    expectRefusal('PERMISSION_DENIED', client.fulfilment.listOrdersToShip({})),
  'PRE-8: totals are computed by the database and frozen': async ({ database }) => {
    const { mayWriteTotal } = await readSessionRights(database)
    return mayWriteTotal
      ? 'the api may write a total'
      : missingTriggers(database, 'orders_guard_insert', 'orders_guard_update')
  },
  'PRE-9: statuses move as the table of transitions says': async ({ database }) => {
    const { mayWriteStatus } = await readSessionRights(database)
    return mayWriteStatus ? 'the api may write a status' : missingTriggers(database, 'orders_guard_status')
  },
  'PRE-10: every class of calls is limited': async (deployed) => {
    const budgets = parseBudgets(deployed.config.HOLDFAST_LIMITS)
    const open = LIMIT_CLASSES.filter((name) => (budgets?.[name].user ?? MAX_BUDGET) >= MAX_BUDGET)
    if (open.length > 0) return `HOLDFAST_LIMITS: no limit for ${open.join(', ')}`
    const isCounted = (await textOf(deployed, '/metrics')).includes('holdfast_grpc_limited_total')
    return isCounted ? undefined : 'the api counts no limited calls: is --metrics its port?'
  },
  'PRE-11: input is never SQL, and the role changes no schema': async ({ client, database }) => {
    const { isSuperuser, mayCreate } = await readSessionRights(database)
    if (isSuperuser || mayCreate) return 'the login of the api may change the schema'
    const found = await client.stock.getAvailability({ productIds: [INJECTION] }).then(
      ({ stock }) => stock.length > 0,
      (error: unknown) => !(error instanceof DomainError && ['invalid', 'not_found'].includes(error.kind)),
    )
    return found ? 'a text with quotes finds products, or fails' : undefined
  },
  'PRE-12: the audit is on': async ({ database }) => {
    const unaudited = await findUnauditedChanges(database)
    return unaudited.length === 0 ? undefined : `not audited: ${unaudited.join(', ')}`
  },
}

/** Why an api would not start in this environment. */
function refusalOf(env: NodeJS.ProcessEnv | undefined): string | undefined {
  try {
    loadConfig('api', env, inspectSecrets('api'))
    return undefined
  } catch (error) {
    if (error instanceof ConfigError)
      return error.message
        .split('\n')
        .slice(1)
        .map((line) => line.trim())
        .join('; ')
    throw error
  }
}

const isAnswered = (call: Promise<unknown>): Promise<boolean> =>
  call.then(
    () => true,
    () => false,
  )

/** What is wrong with a call that must be refused for this reason. */
async function expectRefusal(reason: string, call: Promise<unknown>): Promise<string | undefined> {
  const answer = await call.then(
    () => 'OK',
    (error: unknown) => (error instanceof DomainError ? error.reason : 'no answer'),
  )
  return answer === reason ? undefined : `the answer is ${answer}, not ${reason}: is the token one of a customer?`
}

async function missingTriggers(
  database: Pick<Database, 'sql'>,
  ...names: readonly string[]
): Promise<string | undefined> {
  const missing = await findMissingOrderTriggers(database, names)
  return missing.length === 0 ? undefined : `missing or disabled: ${missing.join(', ')}`
}

const request = ({ metricsUrl }: Deployed, path: string, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(new URL(path, metricsUrl), { headers, redirect: 'error', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) })

const headersOf = async (deployed: Deployed): Promise<Headers> => {
  const answer = await request(deployed, '/healthz', { origin: FOREIGN_ORIGIN })
  await answer.arrayBuffer()
  return answer.headers
}

const textOf = async (deployed: Deployed, path: string): Promise<string> => (await request(deployed, path)).text()
