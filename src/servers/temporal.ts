// A real Temporal server with its schema, on an existing Postgres. Several can run on one machine, since every port is
// given.

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { status } from '@grpc/grpc-js'
import { Connection, isGrpcServiceError } from '@temporalio/client'
import { spawnChild, type Child } from './child.ts'
import { prepareNamespaces } from './namespace.ts'
import { assertPortFree } from './port.ts'

const run = promisify(execFile)

const HOST = '127.0.0.1'
const PLUGIN = 'postgres12_pgx'
const DATABASE = 'temporal'
const VISIBILITY_DATABASE = 'temporal_visibility'
/** Fixed for the life of the database. */
const HISTORY_SHARDS = 4
const DYNAMIC_CONFIG = fileURLToPath(new URL('../../ops/temporal/dynamic-config.yaml', import.meta.url))

/** Per service and store; the server has four services. */
const SQL_MAX_CONNS = 20
const SQL_VISIBILITY_MAX_CONNS = 10
const SERVICES = 4
/** For the superuser, psql and tests. */
const SPARE_CONNECTIONS = 20

/** A start takes seconds. On other ports than before a crash it waits for the dead services, for close to a minute. */
const TEMPORAL_READY_WITHIN_MS = 120_000
const TEMPORAL_STOP_WITHIN_MS = 10_000
const CALL_WITHIN_MS = 5_000

const SYSTEM_NAMESPACE = 'temporal-system'
/** Workflow ids to describe: enough to hit every shard. */
const SHARD_PROBES = 16

/** In the order in which `ports` fills them. */
const PORT_VARIABLES = [
  'FRONTEND_GRPC_PORT',
  'FRONTEND_HTTP_PORT',
  'FRONTEND_MEMBERSHIP_PORT',
  'HISTORY_GRPC_PORT',
  'HISTORY_MEMBERSHIP_PORT',
  'MATCHING_GRPC_PORT',
  'MATCHING_MEMBERSHIP_PORT',
  'WORKER_GRPC_PORT',
  'WORKER_MEMBERSHIP_PORT',
] as const

/** How many ports a server needs; clients call the first. */
export const TEMPORAL_PORTS = PORT_VARIABLES.length

export type TemporalOptions = {
  readonly serverBinary: string
  readonly sqlToolBinary: string
  /** A superuser, or one who may create databases. */
  readonly postgres: { readonly host: string; readonly port: number; readonly user: string; readonly password: string }
  /** TEMPORAL_PORTS free ports; on a database that was used before, better the same (see TEMPORAL_READY_WITHIN_MS). */
  readonly ports: readonly number[]
  /** Its log goes to `log/` there. */
  readonly dataDir: string
}

export type Temporal = Child & { readonly address: string }

/** `max_connections` of a Postgres for Temporal and `applicationPools` connections of Holdfast. */
export function maxConnectionsFor(applicationPools: number): number {
  return SERVICES * (SQL_MAX_CONNS + SQL_VISIBILITY_MAX_CONNS) + applicationPools + SPARE_CONNECTIONS
}

/**
 * Starts the server and resolves once it serves, with its namespaces and search attributes. An existing schema is left
 * unchanged, an incomplete one is completed.
 * @throws {StartError} when it does not come up; {Error} when a port is taken or the schema cannot be set up
 */
export async function startTemporal(options: TemporalOptions): Promise<Temporal> {
  const { ports, postgres, dataDir } = options
  if (ports.length !== TEMPORAL_PORTS) throw new Error(`Temporal needs ${TEMPORAL_PORTS} ports, not ${ports.length}`)
  await Promise.all(ports.map((port) => assertPortFree(port, 'Temporal')))
  await Promise.all([
    setUpSchema(options, DATABASE, 'postgresql/v12/temporal'),
    setUpSchema(options, VISIBILITY_DATABASE, 'postgresql/v12/visibility'),
  ])
  const address = `${HOST}:${ports[0]}`
  const child = await spawnChild({
    name: 'temporal',
    command: options.serverBinary,
    args: ['--allow-no-auth', 'start'],
    env: {
      LOG_LEVEL: 'warn',
      DB: PLUGIN,
      POSTGRES_SEEDS: postgres.host,
      DB_PORT: String(postgres.port),
      POSTGRES_USER: postgres.user,
      POSTGRES_PWD: postgres.password,
      DBNAME: DATABASE,
      VISIBILITY_DBNAME: VISIBILITY_DATABASE,
      SQL_MAX_CONNS: String(SQL_MAX_CONNS),
      SQL_VIS_MAX_CONNS: String(SQL_VISIBILITY_MAX_CONNS),
      NUM_HISTORY_SHARDS: String(HISTORY_SHARDS),
      BIND_ON_IP: HOST,
      TEMPORAL_BROADCAST_ADDRESS: HOST,
      DYNAMIC_CONFIG_FILE_PATH: DYNAMIC_CONFIG,
      ...Object.fromEntries(PORT_VARIABLES.map((variable, index) => [variable, String(ports[index])])),
    },
    logFile: join(dataDir, 'log', 'temporal.log'),
    isReady: () => isServing(address),
    readyWithinMs: TEMPORAL_READY_WITHIN_MS,
    stopWithinMs: TEMPORAL_STOP_WITHIN_MS,
  })
  try {
    await prepareNamespaces(address)
  } catch (error) {
    await child.stop()
    throw error
  }
  return { ...child, address }
}

/** Safe to repeat: the tool skips what exists and versions that were applied before. */
async function setUpSchema(options: TemporalOptions, database: string, schemaName: string): Promise<void> {
  const { host, port, user, password } = options.postgres
  const env = {
    SQL_PLUGIN: PLUGIN,
    SQL_HOST: host,
    SQL_PORT: String(port),
    SQL_USER: user,
    SQL_PASSWORD: password,
    SQL_DATABASE: database,
  }
  const steps = [['create'], ['setup-schema', '-v', '0.0'], ['update-schema', '--schema-name', schemaName]]
  for (const args of steps) await run(options.sqlToolBinary, args, { env })
}

/**
 * The frontend answers before the services have found each other, and after a crash the membership ring lists dead ones
 * for a moment. So these calls need answers of the history and matching services.
 */
async function isServing(address: string): Promise<boolean> {
  const connection = await Connection.connect({ address, connectTimeout: CALL_WITHIN_MS })
  try {
    return await connection.withDeadline(Date.now() + CALL_WITHIN_MS, async () => {
      const { workflowService } = connection
      await workflowService.describeTaskQueue({ namespace: SYSTEM_NAMESPACE, taskQueue: { name: 'probe' } })
      const probes = Array.from({ length: SHARD_PROBES }, (_, index) =>
        workflowService
          .describeWorkflowExecution({ namespace: SYSTEM_NAMESPACE, execution: { workflowId: `probe:${index}` } })
          .catch(unlessNotFound),
      )
      await Promise.all(probes)
      return true
    })
  } finally {
    await connection.close()
  }
}

function unlessNotFound(error: unknown): void {
  if (!isGrpcServiceError(error) || error.code !== status.NOT_FOUND) throw error
}
