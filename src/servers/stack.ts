// All of Holdfast on one machine: Postgres, Temporal, a development chain, and Holdfast's processes, as children of
// this process. For `npm start`, the demo, tests and benchmarks. Production runs the same processes under its own
// supervisor.

import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ensureDatabase, grantLogins } from '../db/cluster.ts'
import { migrate } from '../db/migrate.ts'
import type { Role } from '../domain/access.ts'
import { loadTokenSecrets, signDevelopmentToken } from '../keyvault/token.ts'
import { repeat } from '../repeat.ts'
import { startAnvil, type Anvil, type AnvilOptions } from './anvil.ts'
import type { Child } from './child.ts'
import { claimDataDir } from './claim.ts'
import { NAMESPACE_RETENTION_HOURS, prepareNamespaces } from './namespace.ts'
import { assertPortFree, isPortFree } from './port.ts'
import { removePostgres, startPostgres } from './postgres.ts'
import { isProcessReady, startProcess } from './process.ts'
import { adoptDatabase, findRefusal } from './sealer.ts'
import { ensureSecrets, passwordsOf, replaceFile, type SecretFiles } from './secret.ts'
import { supervise, type Supervised } from './supervise.ts'
import { maxConnectionsFor, startTemporal } from './temporal.ts'
import { startTemporalUi } from './ui.ts'
import {
  addressOf,
  choosePorts,
  connectionLimitsOf,
  portsInUse,
  PROCESS_ROLES,
  specsOf,
  WATCHER_SOURCE,
  type ProcessRole,
  type ProcessSpec,
  type StackPorts,
} from './wiring.ts'

const DATABASE = 'holdfast'
const ORDER_NAMESPACE = 'holdfast'
const SEALER = 'sealer'
/** The children of a killed stack end within this time. */
const SETTLE_WITHIN_MS = 15_000
const SETTLE_INTERVAL_MS = 200
/** Tokens live for 15 minutes. */
const TOKEN_REFRESH_MS = 4 * 60_000
/** Callers before the servers they call. */
const STOP_ORDER = [
  'watcher',
  'payer',
  'api',
  'worker',
  'keys',
  'sealer',
  'temporal-ui',
  'anvil',
  'temporal',
  'postgres',
] as const
/** The folders of a stack in its data directory, besides Postgres's data. */
const KEPT = ['secret', 'audit', 'anvil', 'temporal-ui', 'log'] as const

export type StackOptions = {
  /** For all data of the stack, secrets and logs included. */
  readonly dataDir: string
  /** Undefined: any free ports. */
  readonly portBase?: number | undefined
  /** Starts empty: the stack's data in the directory is removed. */
  readonly fresh?: boolean
  /** The database was restored: the sealer adopts it before anything runs on it. */
  readonly adopt?: boolean
  readonly apis?: number
  readonly workers?: number
  /** Undefined: no chain and no watcher; payments are reported by other means. */
  readonly mining?: AnvilOptions['mining'] | undefined
  /** Variables of the configuration table, for every process. The stack sets addresses and files itself. */
  readonly settings?: Readonly<Record<string, string>>
  /** The address of an existing server, or the programs to run one. */
  readonly temporal:
    | { readonly address: string; readonly namespace?: string }
    | { readonly serverBinary: string; readonly sqlToolBinary: string }
  readonly uiBinary?: string | undefined
  /** An existing database, whose role may create roles. Undefined: the stack runs its own Postgres. */
  readonly databaseUrl?: string | undefined
  /** Called once the directory and the ports are claimed, before anything runs. */
  readonly onClaim?: () => Promise<unknown>
  /** Aborted: the start ends at its next step, and the parts that run are stopped. */
  readonly signal?: AbortSignal
  /** Called for each part that is ready, and for its later restarts. */
  readonly log: (line: string) => void
}

export type Stack = {
  readonly ports: StackPorts
  readonly temporalAddress: string
  readonly temporalNamespace: string
  readonly uiUrl: string | undefined
  readonly chainUrl: string | undefined
  /** Writes the chain's state, so that a kill of its node takes back nothing. */
  readonly saveChain: () => Promise<void>
  /** With all rights. */
  readonly databaseUrl: string
  readonly secrets: SecretFiles
  /** The sealer's checkpoints. */
  readonly auditFile: string
  /** A read-only login, for verification. */
  readonly auditorUrl: string
  readonly tokenClaims: { readonly issuer: string; readonly audience: string }
  /** An access token for minutes; `subject` is a user id for people, a name for watchers and services. */
  readonly mintToken: (role: Role, subject: string) => Promise<string>
  /** Why the sealer refuses to sign, as after a restore; undefined while it does not. */
  readonly sealRefusal: string | undefined
  /** What runs, by name: postgres, temporal, temporal-ui, anvil, keys, sealer, api, api-2, worker, watcher, payer. */
  readonly parts: ReadonlyMap<string, Supervised>
  readonly stop: () => Promise<void>
}

/**
 * Starts a stack and resolves once every part is ready. When a part fails to start, all others are stopped.
 * @throws {Error} that says what failed and what to do
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const claim = await claimDataDir(options.dataDir)
  const crew = createCrew(options.log)
  const stop = async (): Promise<void> => {
    try {
      await crew.stop()
    } finally {
      await claim.release()
    }
  }
  try {
    return { ...(await build(options, crew, claim.isAfterCrash)), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Removes the data of a stopped stack, but not the directory, which may hold other files. */
export async function removeData(dataDir: string): Promise<void> {
  await removePostgres(dataDir)
  for (const name of KEPT) await rm(join(dataDir, name), { recursive: true, force: true })
}

async function build(options: StackOptions, crew: Crew, isAfterCrash: boolean): Promise<Omit<Stack, 'stop'>> {
  const { dataDir, settings = {}, signal } = options
  const shape = { portBase: options.portBase, apis: options.apis ?? 1, workers: options.workers ?? 1 }
  const ports = await choosePorts(shape)
  if (isAfterCrash) await settle(ports, options.log)
  for (const { port, part } of portsInUse(ports)) await assertPortFree(port, part)
  await options.onClaim?.()
  if (options.fresh === true) await removeData(dataDir)

  const limits = connectionLimitsOf(shape)
  const databaseUrl = options.databaseUrl ?? (await runPostgres(options, crew, ports.postgres, limits))
  signal?.throwIfAborted()
  const passwords = passwordsOf(databaseUrl, PROCESS_ROLES)
  const [secrets, , temporal, { chainUrl, saveChain }] = await together([
    ensureSecrets(join(dataDir, 'secret'), WATCHER_SOURCE),
    prepareDatabase(databaseUrl, passwords, limits),
    runTemporal(options, crew, ports.temporal, databaseUrl),
    runChain(options, crew, ports.anvil),
  ])
  signal?.throwIfAborted()

  const tokenClaims = claimsOf(settings)
  const mintToken = await createMint(secrets.jwt, tokenClaims)
  const mintWatcherToken = (): Promise<string> => mintToken('watcher', WATCHER_SOURCE)
  crew.defer(await keepFresh(secrets.watcherToken, mintWatcherToken, options.log))
  const databaseUrlOf = (role: ProcessRole): string => withLogin(databaseUrl, role, passwords[role])
  const auditFile = await auditFileIn(dataDir)
  const specs = specsOf({
    ...{ ports, secrets, auditFile, databaseUrlOf, chainUrl },
    temporalAddress: temporal.temporalAddress,
    settings: { ...settings, ...namespaceSettings(temporal.temporalNamespace) },
  })
  const sealer = specs.find(({ name }) => name === SEALER)
  if (options.adopt === true && sealer !== undefined) await adoptDatabase(sealer)
  const [uiUrl] = await together([
    runUi(options, crew, ports.ui, temporal.temporalAddress),
    ...specs.map((spec) => crew.run(spec.name, () => launch(spec, dataDir), addressOf(spec.metricsPort))),
  ])
  signal?.throwIfAborted()
  const sealRefusal = sealer && (await findRefusal(sealer))
  const addresses = {
    ports,
    ...temporal,
    uiUrl,
    chainUrl,
    saveChain,
    databaseUrl,
    auditorUrl: databaseUrlOf('auditor'),
  }
  return { ...addresses, auditFile, sealRefusal, secrets, tokenClaims, mintToken, parts: crew.parts }
}

/** In its own folder: it is not a secret, and is removed with the data. */
async function auditFileIn(dataDir: string): Promise<string> {
  const folder = join(dataDir, 'audit')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return join(folder, 'checkpoints.jsonl')
}

type Limits = Readonly<Record<ProcessRole, number>>

async function runPostgres({ dataDir }: StackOptions, crew: Crew, port: number, limits: Limits): Promise<string> {
  const maxConnections = maxConnectionsFor(Object.values(limits).reduce((sum, limit) => sum + limit, 0))
  const start = () => startPostgres({ dataDir, port, maxConnections })
  const postgres = await crew.run('postgres', start, addressOf(port))
  return ensureDatabase(postgres.urlOf('postgres'), DATABASE)
}

async function prepareDatabase(
  url: string,
  passwords: Readonly<Record<ProcessRole, string>>,
  limits: Limits,
): Promise<void> {
  await migrate(url)
  const logins = PROCESS_ROLES.map((role) => ({ role, password: passwords[role], connectionLimit: limits[role] }))
  await grantLogins(url, logins)
}

async function runTemporal(
  { temporal, dataDir }: StackOptions,
  crew: Crew,
  ports: readonly number[],
  databaseUrl: string,
): Promise<Pick<Stack, 'temporalAddress' | 'temporalNamespace'>> {
  if ('address' in temporal) {
    const { address, namespace = ORDER_NAMESPACE } = temporal
    await prepareNamespaces(address, { ...NAMESPACE_RETENTION_HOURS, [namespace]: NAMESPACE_RETENTION_HOURS.holdfast })
    return { temporalAddress: address, temporalNamespace: namespace }
  }
  const { hostname, port, username, password } = new URL(databaseUrl)
  const postgres = {
    host: hostname,
    port: Number(port || '5432'),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
  }
  const start = () => startTemporal({ ...temporal, postgres, ports, dataDir })
  const { address } = await crew.run('temporal', start, addressOf(ports[0] ?? 0))
  return { temporalAddress: address, temporalNamespace: ORDER_NAMESPACE }
}

async function runChain(
  { mining, dataDir }: StackOptions,
  crew: Crew,
  port: number,
): Promise<Pick<Stack, 'chainUrl' | 'saveChain'>> {
  if (mining === undefined) return { chainUrl: undefined, saveChain: async () => undefined }
  let anvil: Anvil | undefined
  const start = async (): Promise<Anvil> => (anvil = await startAnvil({ port, dataDir, mining }))
  const { url } = await crew.run('anvil', start, addressOf(port))
  return { chainUrl: url, saveChain: async () => anvil?.save() }
}

async function runUi(
  { uiBinary, dataDir }: StackOptions,
  crew: Crew,
  port: number,
  temporalAddress: string,
): Promise<string | undefined> {
  if (uiBinary === undefined) return undefined
  const start = () => startTemporalUi({ binary: uiBinary, port, temporalAddress, dataDir })
  const { url } = await crew.run('temporal-ui', start, addressOf(port))
  return url
}

const launch = (spec: ProcessSpec, dataDir: string): Promise<Child> =>
  startProcess(spec, { logFile: join(dataDir, 'log', `${spec.name}.log`), isReady: isUp })

/** Ready; or a sealer that refuses: only an operator can change that, and needs all other processes for it. */
const isUp = async (spec: ProcessSpec): Promise<boolean> =>
  (await isProcessReady(spec)) || (spec.name === SEALER && (await findRefusal(spec)) !== undefined)

/** A given namespace holds background workflows too, so that removing it removes everything. */
const namespaceSettings = (namespace: string): Record<string, string> =>
  namespace === ORDER_NAMESPACE ? {} : { TEMPORAL_NAMESPACE: namespace, TEMPORAL_BACKGROUND_NAMESPACE: namespace }

type Crew = ReturnType<typeof createCrew>

/** The running parts of a stack. */
function createCrew(log: (line: string) => void) {
  const parts = new Map<string, Supervised>()
  const deferred: (() => void)[] = []
  return {
    parts: parts as ReadonlyMap<string, Supervised>,

    /** Starts a part and supervises it from then on. */
    async run<C extends Child>(name: string, start: () => Promise<C>, where: string): Promise<C> {
      const part = supervise(name, start, log)
      parts.set(name, part)
      const child = await part.start()
      log(`${name} is ready on ${where}`)
      return child
    },

    /** Registers what is called when the stack stops. */
    defer: (end: () => void): void => void deferred.push(end),

    async stop(): Promise<void> {
      for (const end of deferred) end()
      for (const kind of STOP_ORDER) {
        const due = [...parts.values()].filter(({ name }) => name === kind || name.startsWith(`${kind}-`))
        await Promise.all(due.map((part) => part.stop()))
      }
    },
  }
}

/** Promise.all that rejects only after all have settled, so that nothing is still starting. */
async function together<T extends readonly Promise<unknown>[] | []>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work)
  return Promise.all(work)
}

/** Waits for the ports of a crashed stack, whose children the guardian is still ending. */
async function settle(ports: StackPorts, log: (line: string) => void): Promise<void> {
  log('the previous stack did not stop in order: waiting for its processes to end')
  const deadline = performance.now() + SETTLE_WITHIN_MS
  for (const { port } of portsInUse(ports)) {
    while (!(await isPortFree(port)) && performance.now() < deadline) await sleep(SETTLE_INTERVAL_MS)
  }
}

const claimsOf = (settings: Readonly<Record<string, string>>): Stack['tokenClaims'] => ({
  issuer: settings['HOLDFAST_JWT_ISSUER'] ?? 'holdfast',
  audience: settings['HOLDFAST_JWT_AUDIENCE'] ?? 'holdfast',
})

async function createMint(jwtFile: string, claims: Stack['tokenClaims']): Promise<Stack['mintToken']> {
  const secrets = loadTokenSecrets(await readFile(jwtFile, 'utf8'), 'development')
  return (role, subject) => signDevelopmentToken({ secrets, ...claims, roles: [role], subject })
}

/** Writes a token to a file now, and rewrites it before it expires. @returns the function that stops this */
async function keepFresh(path: string, mint: () => Promise<string>, log: (line: string) => void): Promise<() => void> {
  const write = async (): Promise<void> => replaceFile(path, await mint())
  await write()
  const stopping = new AbortController()
  void repeat(write, {
    signal: stopping.signal,
    everyMs: TOKEN_REFRESH_MS,
    firstAfterMs: TOKEN_REFRESH_MS,
    onError: (error) => log(`${path} not renewed: ${(error as Error).message}`),
  })
  return () => stopping.abort()
}

function withLogin(url: string, user: string, password: string): string {
  const own = new URL(url)
  own.username = user
  own.password = password
  return own.href
}
