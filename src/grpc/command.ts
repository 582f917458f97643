// Commands, from the caller to the order's workflow and back. The workflow decides and its activity writes; here a
// repeated attempt finds its answer, and whatever stands in the way of asking is told as such: an engine that cannot
// be reached is never the order's fault.

import { createHash, randomUUID } from 'node:crypto'
import {
  isGrpcServiceError,
  ServiceError,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
  type WorkflowStartOptions,
} from '@temporalio/client'
import { ApplicationFailure, NamespaceNotFoundError } from '@temporalio/common'
import { status } from '@grpc/grpc-js'
import { z } from 'zod'
import { findAnswer, openAnswer, type Attempt } from '../db/idempotency.ts'
import type { Database } from '../db/connection/pool.ts'
import { findAsked, findStanding, type Asked, type OrderStanding, type StartToDo } from '../db/read.ts'
import { actorOf, hasRole } from '../domain/access.ts'
import { refusalOf, type CommandAnswer, type CommandInput, type CommandResult } from '../domain/command.ts'
import { DomainError, FAILURES, RETRY_HINT_MS, RETRYABLE_KINDS, type FailureReason } from '../domain/failure.ts'
import { ORDER_STATUSES, type ActorRole, type Command } from '../domain/order.ts'
import { cancelUpdate, deliverUpdate, orderWorkflowId, shipUpdate } from '../workflows/message.ts'
import { auditActorOf, type Call } from './call.ts'
import { orderUnreachable, writeScopeOf } from './guard.ts'

const UPDATES = { cancel: cancelUpdate, ship: shipUpdate, deliver: deliverUpdate } as const
/** Above a step's own attempt (6.5 s), below the deadline most callers have (10 s): a hung engine is told to them. */
const ENGINE_WITHIN_MS = 7_000

/** The engine's name for a command whose run closed under it. */
const CUT_OFF = 'AcceptedUpdateCompletedWorkflow'

/** Stored by the transaction that had the effect. */
const ANSWER = z.object({ status: z.enum(ORDER_STATUSES), version: z.number() })

/** What a command was answered when it took effect. Throws IDEMPOTENCY_KEY_REUSED. */
export const findCommandAnswer = (database: Database, attempt: Attempt): Promise<CommandAnswer | undefined> =>
  findAnswer(database, attempt, ANSWER)

export type CommandRequest = { idempotencyKey: string; orderId: string; expectedVersion?: number | undefined }

export type CommanderDeps = {
  database: Database
  client: Client
  /** How the relay would start an order's workflow. */
  startOptionsOf: (start: StartToDo) => WorkflowStartOptions
  engineWithinMs?: number
}
export type Commander = (command: Command, request: CommandRequest, call: Call) => Promise<CommandAnswer>

/**
 * Makes the function that carries a command out.
 * @throws {DomainError} PERMISSION_DENIED or NOT_FOUND, IDEMPOTENCY_KEY_REUSED, ORDER_STATUS, ORDER_ON_HOLD,
 *   VERSION_MISMATCH, ENGINE_UNAVAILABLE, DEADLINE_EXCEEDED
 */
export const createCommander =
  (deps: CommanderDeps): Commander =>
  async (command, request, call) => {
    const role = roleFor(command, call)
    const attempt = attemptOf(request.idempotencyKey, call, role)
    const asked = await findAsked(deps.database, request.orderId, writeScopeOf(call.principal, role), attempt)
    if (asked === undefined) throw orderUnreachable(call.principal)
    if (asked.kept !== undefined) {
      const earlier = openAnswer(asked.kept, ANSWER)
      call.record.isReplay = true
      return earlier
    }
    const input = commandInputOf(request, role, call)
    const result = await askUntilFinal(deps, command, asked, input, call)
    if (result !== 'closed' && result.ok) return result.answer
    // This very attempt may have taken effect on an earlier connection; then what was written with the effect holds.
    const answer = await findCommandAnswer(deps.database, attempt)
    if (answer !== undefined) return answer
    if (result === 'closed') throw await refusalOfClosed(deps, command, input, asked.standing)
    throw refusedError(result.reason, result.message, result.state)
  }

/** The widest role that may ask for this: it decides what the order is told about who asked. */
function roleFor(command: Command, call: Call): ActorRole {
  if (hasRole(call.principal, 'admin')) return 'admin'
  return command === 'cancel' ? 'customer' : 'fulfilment'
}

export const attemptOf = (key: string, call: Call, role: ActorRole): Attempt => ({
  actor: actorOf(call.principal),
  method: methodOf(call),
  key,
  requestHash: call.requestHash(),
  by: auditActorOf(call, role),
})

export const commandInputOf = (request: CommandRequest, role: ActorRole, call: Call): CommandInput => ({
  actor: actorOf(call.principal),
  role,
  method: methodOf(call),
  key: request.idempotencyKey,
  requestHash: call.requestHash().toString('hex'),
  requestId: call.record.requestId,
  tokenId: call.principal.tokenId,
  ...(request.expectedVersion !== undefined && { expectedVersion: request.expectedVersion }),
})

/** `CancelOrder`: the names of our methods are unique over all services. */
const methodOf = (call: Call): string => call.record.path.split('/')[2] ?? ''

/**
 * Asks the workflow, and once more where the answer only says to try again: Temporal keeps the answer of an update, so
 * that one may be from long ago and would be told to every repeat of this attempt. Nothing is done twice, since what
 * takes effect is bound to the key.
 */
async function askUntilFinal(
  deps: CommanderDeps,
  command: Command,
  asked: Asked,
  input: CommandInput,
  call: Call,
): Promise<CommandResult | 'closed'> {
  const until = Math.min(call.deadline, Date.now() + (deps.engineWithinMs ?? ENGINE_WITHIN_MS))
  const updateId = updateIdOf(input, asked.standing.version)
  const first = await ask(deps, command, asked, { input, updateId, until }, call)
  if (first === 'closed' || (first !== 'cut off' && !isPassing(first))) return first
  // Not the request's id: a caller may send the same one with each repeat.
  const second = await ask(deps, command, asked, { input, updateId: `${updateId}:${randomUUID()}`, until }, call)
  if (second === 'cut off') throw engineUnavailable()
  return second
}

/** `closed`: the workflow has ended. `cut off`: the run that took the command ended, or continued as new, under it. */
type Outcome = CommandResult | 'closed' | 'cut off'

/** An internal failure is the workflow's trouble at that moment, not the command's. */
function isPassing(result: CommandResult): boolean {
  const kind = result.ok ? undefined : FAILURES[result.reason]
  return kind !== undefined && (RETRYABLE_KINDS.has(kind) || kind === 'bug')
}

/** Asks the workflow, starting it first while that is still to be done. */
async function ask(
  deps: CommanderDeps,
  command: Command,
  { standing: { orderId }, start }: Asked,
  { input, updateId, until }: { input: CommandInput; updateId: string; until: number },
  call: Call,
): Promise<Outcome> {
  const options = { args: [input] as [CommandInput], updateId }
  const { workflow } = deps.client
  const update = (): Promise<CommandResult> =>
    start === undefined
      ? workflow.getHandle(orderWorkflowId(orderId)).executeUpdate(UPDATES[command], options)
      : workflow.executeUpdateWithStart(UPDATES[command], {
          ...options,
          startWorkflowOperation: new WithStartWorkflowOperation('order', {
            ...deps.startOptionsOf(start),
            workflowIdConflictPolicy: 'USE_EXISTING',
          }),
        })
  try {
    return await deps.client.withDeadline(until, () => deps.client.withAbortSignal(call.signal, update))
  } catch (error) {
    if (error instanceof WorkflowNotFoundError || error instanceof WorkflowExecutionAlreadyStartedError) return 'closed'
    if (isCutOff(error)) return 'cut off'
    throw failureOf(error, call)
  }
}

/**
 * The same attempt is the same update to the workflow, however often it is sent. The version is part of it, because
 * Temporal keeps a refusal too: once the order has changed, the attempt deserves another look.
 */
const updateIdOf = ({ actor, method, key, requestHash }: CommandInput, version: bigint): string =>
  createHash('sha256').update([actor, method, key, requestHash, version].join('|')).digest('hex')

const isCutOff = (error: unknown): boolean =>
  error instanceof WorkflowUpdateFailedError &&
  error.cause instanceof ApplicationFailure &&
  error.cause.type === CUT_OFF

function failureOf(error: unknown, call: Call): unknown {
  if (error instanceof WorkflowUpdateFailedError) return validatorsRefusal(error) ?? error
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError || codeOf(error) === status.DEADLINE_EXCEEDED) {
    // The caller would still wait: it was the engine that did not answer.
    if (Date.now() < call.deadline && !call.signal.aborted) return engineUnavailable(error)
    return new DomainError('DEADLINE_EXCEEDED', 'Time ran out. Repeat with the same key to learn what happened.', {
      cause: error,
    })
  }
  const isEngines = error instanceof ServiceError || error instanceof NamespaceNotFoundError
  return isEngines ? engineUnavailable(error) : error
}

const codeOf = (error: unknown): status | undefined =>
  error instanceof ServiceError && isGrpcServiceError(error.cause) ? error.cause.code : undefined

/** A validator's refusal carries its reason as type and the state it saw as detail. */
function validatorsRefusal(error: WorkflowUpdateFailedError): DomainError | undefined {
  const { cause } = error
  if (!(cause instanceof ApplicationFailure)) return undefined
  const reason = Object.keys(FAILURES).find((known): known is FailureReason => known === cause.type)
  const [state] = (cause.details ?? []) as Partial<Standing>[]
  return reason === undefined ? undefined : refusedError(reason, cause.message, state ?? {})
}

type Standing = { status: string; hold: string; version: number | bigint }

/** Tells the caller what in the order's state made it refuse. */
function refusedError(reason: FailureReason, message: string, state: Partial<Standing>): DomainError {
  const facts = {
    ...(reason === 'ORDER_STATUS' && { status: state.status }),
    ...(reason === 'ORDER_ON_HOLD' && { hold: state.hold }),
    ...(reason === 'VERSION_MISMATCH' && { version: state.version?.toString() }),
  }
  const metadata = Object.fromEntries(
    Object.entries(facts).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
  return new DomainError(reason, message, { metadata })
}

/** What an order whose workflow has ended would say; one that should not have ended is the engine's trouble. */
async function refusalOfClosed(
  deps: CommanderDeps,
  command: Command,
  input: CommandInput,
  before: OrderStanding & { userId: bigint },
): Promise<DomainError> {
  const standing =
    (await findStanding(deps.database, before.orderId, { ownerId: before.userId, statuses: [] })) ?? before
  const refusal = refusalOf(command, input, { ...standing, version: Number(standing.version) })
  return refusal === undefined ? engineUnavailable() : refusedError(refusal.reason, refusal.message, standing)
}

export const engineUnavailable = (cause?: unknown): DomainError =>
  new DomainError('ENGINE_UNAVAILABLE', 'The order cannot be moved just now; try again.', {
    retryAfterMs: RETRY_HINT_MS.outage,
    cause,
  })
