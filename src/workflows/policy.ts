// Every timeout and retry of the workflows, and the one way they call activities.

import {
  ActivityCancellationType,
  ApplicationFailure,
  patched,
  proxyActivities,
  proxyLocalActivities,
  workflowInfo,
} from '@temporalio/workflow'
import type { ConsistencyActivities } from '../activities/consistency.ts'
import type { Activities } from '../activities/index.ts'

/** Above the wait for a connection (1 s) plus the database's transaction timeout (5 s); below the 8 s after which a
 * workflow task must heartbeat. */
const STEP_TIMEOUT_MS = 6_500
const RETRY_FROM_MS = 200
/** After an outage of hours, orders continue within ten seconds. An attempt while the database is down is cheap. */
const RETRY_TO_MS = 10_000

/** A step that reads every order may take long, but must send heartbeats: its worker may be gone. */
const LONG_STEP_TIMEOUT_MS = 3_600_000
const LONG_STEP_SILENCE_MS = 30_000
/** After these, the schedule's next run tries again. */
const LONG_STEP_ATTEMPTS = 5

/** Jitter: an unpaid order asks for its expiry up to a fifth of its window late, so that many do not ask at once. */
export const EXPIRY_JITTER_SHARE = 0.2
/** Back-off while the database cannot expire the order yet, for example until the watcher has caught up. */
export const EXPIRY_RETRY_FROM_MS = 1_000
export const EXPIRY_RETRY_TO_MS = 600_000
export const EXPIRY_RETRY_FACTOR = 2

/**
 * Look updates that one run accepts; after these it needs signals. Temporal allows 2,000 updates per run, and commands
 * need them too.
 */
export const MAX_LOOKS_PER_RUN = 32
/**
 * A run continues as new at this length. An order needs about 40 events; more, and replaying a run takes noticeable time.
 * Every message costs an event or more, so that no run comes near the engine's limits: 2,000 updates, 10,000 signals,
 * 51,200 events, 50 MiB.
 */
export const MAX_RUN_EVENTS = 1_000
const MAX_RUN_BYTES = 1_048_576

const common = {
  startToCloseTimeout: STEP_TIMEOUT_MS,
  // Unset means TRY_CANCEL: a cancelled step could still commit after the workflow had gone on.
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
} as const

const local = proxyLocalActivities<Activities>({ ...common, retry: { maximumAttempts: 1 } })
const ordinary = proxyActivities<Activities>({
  ...common,
  retry: { initialInterval: RETRY_FROM_MS, backoffCoefficient: 2, maximumInterval: RETRY_TO_MS },
})

/**
 * Runs one activity: one attempt inside the workflow task, which costs no event of its own, then the same function
 * as an ordinary activity, retried without end. To the database both are the same step.
 * @throws {ActivityFailure} only for a reason that is final
 */
export function step<Name extends keyof Activities>(
  name: Name,
  ...args: Parameters<Activities[Name]>
): Promise<Awaited<ReturnType<Activities[Name]>>> {
  type Call = (...args: Parameters<Activities[Name]>) => Promise<Awaited<ReturnType<Activities[Name]>>>
  // Promises are expensive here (the SDK keeps a stack trace of each): hence one promise and no async function.
  return (local[name] as Call)(...args).catch((error: unknown) => {
    if (isFinal(error)) throw error
    return (ordinary[name] as Call)(...args)
  })
}

const long = proxyActivities<ConsistencyActivities>({
  ...common,
  startToCloseTimeout: LONG_STEP_TIMEOUT_MS,
  heartbeatTimeout: LONG_STEP_SILENCE_MS,
  retry: { initialInterval: RETRY_FROM_MS, maximumInterval: RETRY_TO_MS, maximumAttempts: LONG_STEP_ATTEMPTS },
})

/** Runs an activity that takes minutes, for a schedule. No order waits for it. */
export const longStep = <Name extends keyof ConsistencyActivities>(
  name: Name,
): ReturnType<ConsistencyActivities[Name]> => (long[name] as ConsistencyActivities[Name])() as never

/** Whether the run should continue as new because its history is long. False for histories recorded before this patch. */
export function isRunFull(): boolean {
  const { historyLength, historySize, continueAsNewSuggested } = workflowInfo()
  const isFull = continueAsNewSuggested || historyLength >= MAX_RUN_EVENTS || historySize >= MAX_RUN_BYTES
  return isFull && patched('continue-as-new')
}

/** The activity's own error, one level below what the SDK throws. */
const failureOf = (error: unknown): ApplicationFailure | undefined => {
  const cause = error instanceof Error ? error.cause : undefined
  return cause instanceof ApplicationFailure ? cause : undefined
}

export const isFinal = (error: unknown): boolean => failureOf(error)?.nonRetryable === true

/** The domain's reason behind an activity's failure, if it gave one. */
export const reasonOf = (error: unknown): string | undefined => failureOf(error)?.type ?? undefined
