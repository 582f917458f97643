// A fixture for the api process as it is deployed: a child in production mode on a database of its own, with secret files
// of its own, and without an engine.

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadTokenSecrets, signDevelopmentToken } from '../../src/keyvault/token.ts'
import { freePorts } from '../../src/servers/port.ts'
import { putAddresses } from './address.ts'
import { createTestDatabase, type TestDatabase } from './database.ts'
import { killAll, startProcess, type RunningProcess } from './process.ts'
import { ROOT } from './source.ts'

const ENTRY = join(ROOT, 'src/main/api.ts')
/** In the pool of unused ones. */
export const API_ADDRESSES = 10
const SECRET_BYTES = 32
const TOKEN_S = 240

const secret = (): string => randomBytes(SECRET_BYTES).toString('base64')
const version = (number: number) => ({ version: number, secret: secret() })
const JWT = JSON.stringify({ keys: [{ kid: 'test', secret: secret() }] })
const pair = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})

/** The public half of its quote key. */
export const QUOTE_PUBLIC_KEY = pair.publicKey
/** Contents of its secret files, by variable. */
export const API_FILES = {
  HOLDFAST_JWT_SECRETS_FILE: JWT,
  HOLDFAST_PII_KEYRING_FILE: JSON.stringify({ primary: 2, versions: [version(1), version(2)] }),
  HOLDFAST_ORDER_ID_SECRET_FILE: secret(),
  HOLDFAST_QUOTE_KEY_FILE: pair.privateKey,
  HOLDFAST_REFUND_KEY_FILE: pair.privateKey,
  HOLDFAST_SOURCES_FILE: JSON.stringify({ sources: [{ name: 'watcher-1', algorithm: 'sha256', secrets: [secret()] }] }),
}

export type ApiProcess = RunningProcess & { address: string; adminAddress: string }
export type ApiFixture = {
  database: TestDatabase
  /** For files of the test. */
  folder: string
  /** Starts an api with these secret files and these changes of its environment. */
  start: (
    files?: Readonly<Record<string, string>>,
    changes?: Readonly<Record<string, string | undefined>>,
  ) => Promise<ApiProcess>
  /** The chain is followed up to now, so that orders are quoted. */
  followChain: () => Promise<void>
  /** Kills the processes that were started. */
  killAll: () => Promise<void>
  close: () => Promise<void>
}

export async function createApiFixture(): Promise<ApiFixture> {
  const database = await createTestDatabase()
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-api-'))
  await putAddresses(database, API_ADDRESSES)
  const processes: RunningProcess[] = []
  return {
    database,
    folder,
    start: async (files = API_FILES, changes = {}) => {
      const [grpc = 0, admin = 0, metrics = 0] = await freePorts(3)
      const paths: Record<string, string> = {}
      for (const [variable, content] of Object.entries(files)) {
        paths[variable] = join(folder, `${variable}-${grpc}`)
        await writeFile(paths[variable], content, { mode: 0o600 })
      }
      const env = {
        DATABASE_URL: database.urlOf('app_api'),
        TEMPORAL_ADDRESS: '127.0.0.1:9',
        HOLDFAST_MODE: 'production',
        HOLDFAST_TLS: 'terminated-by-proxy',
        HOLDFAST_GRPC_PORT: String(grpc),
        HOLDFAST_ADMIN_PORT: String(admin),
        HOLDFAST_METRICS_PORT: String(metrics),
        HOLDFAST_DRAIN_MS: '0',
        ...paths,
        ...changes,
      }
      const started = startProcess([ENTRY], env, metrics)
      processes.push(started)
      return { ...started, address: `127.0.0.1:${grpc}`, adminAddress: `127.0.0.1:${admin}` }
    },
    followChain: async () =>
      void (await database.query(
        `insert into chain_status (network, start_height, settled_height, scanned_height, tip_height, tip_asked_at, caught_up_at)
         select 'ethereum', 1, 1, 1, 1, t, t from (select clock_timestamp() as t) now`,
      )),
    killAll: () => killAll(processes),
    close: async () => {
      await killAll(processes)
      await rm(folder, { recursive: true })
      await database.drop()
    },
  }
}

/** A customer's token that API_FILES verify. */
export const customerToken = (userId: number): Promise<string> =>
  signDevelopmentToken({
    secrets: loadTokenSecrets(JWT, 'development'),
    ...{ issuer: 'holdfast', audience: 'holdfast', roles: ['customer'], subject: String(userId), lifetimeS: TOKEN_S },
  })
