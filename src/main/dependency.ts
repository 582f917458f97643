// Checks what a process depends on, without starting it: its database, Temporal, the key set of its issuer, the api and the
// node of a watcher, the file of the sealer, the node and folder of the payer. Each check says what to do; nothing is
// changed.

import { access, constants, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Connection } from '@temporalio/client'
import { z } from 'zod'
import { createEthereumClient } from '../chain/ethereum.ts'
import type { Config } from '../config.ts'
import { findSchemaVersion, openDatabase, type Database } from '../db/connection/pool.ts'
import { newestMigration } from '../db/migrate.ts'
import { readSessionRights } from '../db/safeguard.ts'
import { createClient, KEEPALIVE } from '../grpc/client.ts'
import { createSetLoader } from '../keyvault/jwks.ts'
import { chainIdOf, nodeUrlsOf } from './asset.ts'
import type { ServiceName } from './process.ts'
import { readTemporalTls, temporalOptions } from './temporal_connection.ts'
import { readApiTls } from './tls.ts'

/** What a key set has at the least; the api checks the rest. */
const SET = z.object({ keys: z.array(z.unknown()).min(1) })
const CONNECT_WITHIN = '5 seconds'
const POOL_SIZE = 1

/** The result of one check. `problem`: what is wrong and what to do; undefined when it passed. */
export type CheckResult = { check: string; problem: string | undefined }

type Check = { check: string; find: () => Promise<string | undefined> }

/** Checks all dependencies of a process. Never rejects: a failure is a finding. */
export async function checkDependencies<P extends ServiceName>(name: P, config: Config<P>): Promise<CheckResult[]> {
  const checks = [databaseCheck(config), ...CHECKS[name](config)]
  return Promise.all(checks.map(runCheck))
}

/** A failure is told by its code or its name: the text of a library may quote a secret of the configuration. */
export async function runCheck({ check, find }: Check): Promise<CheckResult> {
  return { check, problem: await find().catch((error: unknown) => `failed: ${causeOf(error)}`) }
}

function causeOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && typeof cause.code === 'string') return cause.code
    if (cause.cause === undefined) return cause.name
  }
  return 'unknown'
}

const databaseCheck = ({ DATABASE_URL: url }: { DATABASE_URL: string }): Check => ({
  check: 'DATABASE_URL: a database of this version, and a login without more rights than it needs',
  find: () =>
    withDatabase(url, async (database) => {
      const [version, newest] = [await findSchemaVersion(database), await newestMigration()]
      if (version < newest) return `the schema has version ${version}, and this build needs ${newest}: migrate first`
      const { isSuperuser, mayCreate } = await readSessionRights(database)
      return isSuperuser || mayCreate ? 'the login may change the schema: use the role of the process' : undefined
    }),
})

/** Runs `work` with a connection of its own. */
export async function withDatabase<T>(url: string, work: (database: Database) => Promise<T>): Promise<T> {
  const database = await openDatabase({ url, poolSize: POOL_SIZE, applicationName: 'holdfast-preflight' })
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

const temporalCheck = (config: Config<'api'> | Config<'worker'>, namespaces: readonly string[]): Check => ({
  check: `TEMPORAL_ADDRESS: a server that has ${namespaces.join(' and ')}`,
  find: async () => {
    const { TEMPORAL_ADDRESS: address } = config
    const options = temporalOptions(address, KEEPALIVE, await readTemporalTls(config, address))
    const connection = await Connection.connect({ ...options, connectTimeout: CONNECT_WITHIN })
    try {
      for (const namespace of namespaces) await connection.workflowService.describeNamespace({ namespace })
      return undefined
    } finally {
      await connection.close()
    }
  },
})

const issuerCheck = ({ HOLDFAST_JWKS_URL: location, HOLDFAST_MODE: mode }: Config<'api'>): Check[] =>
  location === undefined
    ? []
    : [
        {
          check: 'HOLDFAST_JWKS_URL: a key set that can be read',
          find: async () => {
            const set: unknown = JSON.parse(await createSetLoader(location, mode)())
            return SET.safeParse(set).success ? undefined : 'the answer has no keys: is it the URL of a JWKS?'
          },
        },
      ]

const watcherChecks = (config: Config<'watcher'>): Check[] => [
  {
    check: 'HOLDFAST_API_ADDRESS: an api that serves',
    find: async () => {
      const { HOLDFAST_API_ADDRESS: address } = config
      const client = createClient({ address, token: () => '', tls: await readApiTls(config) })
      try {
        await client.health.check({})
        return undefined
      } finally {
        client.close()
      }
    },
  },
  ...nodeChecks(config),
]

/** One for each node of the list. */
function nodeChecks(config: Config<'watcher'> | Config<'payer'>): Check[] {
  const { HOLDFAST_ETH_NETWORK: network } = config
  const urls = nodeUrlsOf(config)
  return urls.map((url, at) => ({
    check: `HOLDFAST_ETH_RPC_URL: a node that knows its newest block${urls.length === 1 ? '' : `, number ${at + 1}`}`,
    find: async () => {
      await createEthereumClient({ url, network, chainId: chainIdOf(config), onUntraced: () => undefined }).getTip()
      return undefined
    },
  }))
}

const payerChecks = (config: Config<'payer'>): Check[] => {
  const { HOLDFAST_PAYOUT_DIR: dir } = config
  const folder: Check[] =
    dir === undefined
      ? []
      : [
          {
            check: 'HOLDFAST_PAYOUT_DIR: a folder in which it can be written',
            find: () => findFolderProblem(dir),
          },
        ]
  return [...nodeChecks(config), ...folder]
}

const FOLDER_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'the folder is missing: create it (mkdir -p -m 700), owned by the user of this process',
  ENOTDIR: 'a part of its path is a file: name a folder',
  EACCES: 'this user may not write in it: give it to the user of this process',
  EROFS: 'its file system is read-only: mount it with the right to write',
}

/** What to create where a folder is missing, or who must own it. */
async function findFolderProblem(dir: string): Promise<string | undefined> {
  const find = async (): Promise<string | undefined> => {
    if (!(await stat(dir)).isDirectory()) return 'it is a file: name a folder'
    await access(dir, constants.W_OK | constants.X_OK)
    return undefined
  }
  return find().catch((error: NodeJS.ErrnoException) => {
    const problem = FOLDER_PROBLEMS[error.code ?? '']
    if (problem === undefined) throw error
    return problem
  })
}

const sealerCheck = ({ HOLDFAST_AUDIT_FILE: path }: Config<'sealer'>): Check => ({
  check: 'HOLDFAST_AUDIT_FILE: a folder in which it can be written',
  find: () => findFolderProblem(dirname(path)),
})

const CHECKS: { readonly [P in ServiceName]: (config: Config<P>) => readonly Check[] } = {
  api: (config) => [temporalCheck(config, [config.TEMPORAL_NAMESPACE]), ...issuerCheck(config)],
  worker: (config) => [temporalCheck(config, [config.TEMPORAL_NAMESPACE, config.TEMPORAL_BACKGROUND_NAMESPACE])],
  keys: () => [],
  watcher: watcherChecks,
  sealer: (config) => [sealerCheck(config)],
  payer: payerChecks,
}
