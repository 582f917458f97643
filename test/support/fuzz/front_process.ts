// The front under fuzz, in a process of its own: `node --expose-gc front_process.ts`, with IPC. A crash ends it, and
// its memory is its alone.

import { randomBytes } from 'node:crypto'
import { Writable } from 'node:stream'
import { ROLES, type Role } from '../../../src/domain/access.ts'
import { logLibrary } from '../../../src/grpc/library_log.ts'
import { createReportVerifier, loadSources } from '../../../src/keyvault/signature.ts'
import { createLogger } from '../../../src/telemetry.ts'
import { createTestFront } from '../front.ts'
import { CANARY } from './hostile.ts'

/** From the fuzzer: where to start, or which question to answer. */
export type Order = { ask: 'start'; databaseUrl: string; userId: number } | { ask: 'tokens' } | { ask: 'state' }

export type Tokens = Readonly<Record<Role, string>>
export type Started = { public: string; admin: string; source: string; sourceSecret: string }
export type State = {
  /** After a garbage collection: the heap and what it holds outside of itself. */
  bytes: number
  callsInFlight: number
  /** Unhandled errors, warnings, and log lines that repeat the input. */
  problems: readonly string[]
}

const SOURCE = 'watcher-1'
/** Commands find no engine, and need not wait for it. */
const ENGINE_WITHIN_MS = 50
const MAX_PROBLEMS = 20
const SHOWN_CHARACTERS = 500

const problems: string[] = []
const note = (what: string) => (cause: unknown) => {
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
  if (problems.length < MAX_PROBLEMS) problems.push(`${what}: ${text.slice(0, SHOWN_CHARACTERS)}`)
}
process.on('uncaughtException', note('uncaught exception'))
process.on('unhandledRejection', note('unhandled rejection'))
process.on('warning', note('warning'))

const destination = new Writable({
  write: (chunk: Buffer, _encoding, done) => {
    if (chunk.includes(CANARY)) note('the log repeats the input')(chunk.toString())
    done()
  },
})

const logger = createLogger({ process: 'api', level: 'info', destination })
logLibrary(logger)

let front: Awaited<ReturnType<typeof createTestFront>> | undefined

async function start(databaseUrl: string): Promise<Started> {
  const secret = randomBytes(32).toString('base64')
  const source = { name: SOURCE, algorithm: 'sha256', secrets: [secret] }
  front = await createTestFront(
    { urlOf: () => databaseUrl },
    {
      engineWithinMs: ENGINE_WITHIN_MS,
      deps: {
        logger,
        verifyReport: createReportVerifier({
          sources: loadSources(JSON.stringify({ sources: [source] }), 'development'),
        }),
        isRunning: async () => false,
      },
    },
  )
  return { public: front.address, admin: front.adminAddress, source: SOURCE, sourceSecret: secret }
}

async function mintTokens(userId: number): Promise<Tokens> {
  const pairs = ROLES.map(async (role) => {
    const subject = role === 'watcher' || role === 'service' ? `${role}-1` : String(role === 'customer' ? userId : 1)
    return [role, (await front?.tokenOf({ role, subject })) ?? ''] as const
  })
  return Object.fromEntries(await Promise.all(pairs)) as Record<Role, string>
}

async function readState(): Promise<State> {
  // Twice: finalisers free memory for the second collection.
  for (let times = 0; times < 2; times += 1) {
    globalThis.gc?.()
    await new Promise(setImmediate)
  }
  const { heapUsed, external } = process.memoryUsage()
  const [gauge] = (await front?.registry.getSingleMetric('holdfast_grpc_calls_in_flight')?.get())?.values ?? []
  return { bytes: heapUsed + external, callsInFlight: gauge?.value ?? Number.NaN, problems }
}

let userId = 0
async function answer(order: Order): Promise<Started | Tokens | State> {
  switch (order.ask) {
    case 'start':
      ;({ userId } = order)
      return start(order.databaseUrl)
    case 'tokens':
      return mintTokens(userId)
    case 'state':
      return readState()
  }
}

process.on('message', (order: Order) => {
  answer(order).then((reply) => process.send?.(reply), note('the test itself'))
})
process.on('disconnect', () => process.exit(0))
