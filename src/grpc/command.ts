// Commands: from the caller to the order's workflow and back. The workflow decides, and its activity writes. This file
// returns the stored answer to a repeated attempt, and reports an engine that cannot be reached as such and never as a
// refusal by the order.

import { createHash, randomUUID } from 'node:crypto'
import {
  WithStartWorkflowOperation,
  WorkflowUpdateFailedError,
  type Client,
  type WorkflowStartOptions,
} from '@temporalio/client'
import { ApplicationFailure } from '@temporalio/common'
import { z } from 'zod'
import { findAnswer, openAnswer, type Attempt } from '../db/idempotency.ts'
import type { Database } from '../db/connection/pool.ts'
import { findCommandTarget, findSnapshot, type CommandTarget, type OrderSnapshot, type StartToDo } from '../db/read.ts'
import { actorOf, hasRole } from '../domain/access.ts'
import {
  KEY_IN_PROGRESS,
  refusalOf,
  type CommandAnswer,
  type CommandInput,
  type CommandResult,
} from '../domain/command.ts'
import { DomainError, FAILURES, RETRY_HINT_MS, RETRYABLE_KINDS, type FailureReason } from '../domain/failure.ts'
import { ORDER_STATUSES, type ActorRole, type Command } from '../domain/order.ts'
import { cancelUpdate, deliverUpdate, orderWorkflowId, shipUpdate } from '../workflows/message.ts'
import { auditActorOf, type Call } from './call.ts'
import { deadlineExceeded } from './deadline.ts'
import { engineFailureOf } from './engine_failure.ts'
import { orderScopeOf, orderUnreachable } from './permission.ts'
import { formerHashOf } from './request_hash.ts'

const UPDATES = { cancel: cancelUpdate, ship: shipUpdate, deliver: deliverUpdate } as const
/**
 * Longer than one attempt of a step (6.5 s), shorter than the deadline of most callers (10 s): they learn that the
 * engine hangs.
 */
const ENGINE_WITHIN_MS = 7_000

/** The stored answer, written by the transaction of the effect. */
const ANSWER = z.object({ status: z.enum(ORDER_STATUSES), version: z.number() })

/** The answer of an earlier attempt whose command took effect. Throws IDEMPOTENCY_KEY_REUSED. */
export const findCommandAnswer = (database: Database, attempt: Attempt): Promise<CommandAnswer | undefined> =>
  findAnswer(database, attempt, ANSWER)

export type CommandRequest = { idempotencyKey: string; orderId: string; expectedVersion?: number | undefined }

export type CommanderDeps = {
  database: Database
  client: Client
  /** The options that the relay starts an order's workflow with. */
  startOptionsOf: (start: StartToDo) => WorkflowStartOptions
  engineWithinMs?: number
}
export type Commander = (command: Command, request: CommandRequest, call: Call) => Promise<CommandAnswer>

/**
 * Creates the function that executes commands.
 * @throws {DomainError} PERMISSION_DENIED or NOT_FOUND, IDEMPOTENCY_KEY_REUSED, ORDER_STATUS, ORDER_ON_HOLD,
 *   VERSION_MISMATCH, ENGINE_UNAVAILABLE, DEADLINE_EXCEEDED
 */
export const createCommander =
  (deps: CommanderDeps): Commander =>
  async (command, request, call) => {
    const role = roleFor(command, call)
    const attempt = attemptOf(request.idempotencyKey, call, role)
    const target = await findCommandTarget(deps.database, request.orderId, orderScopeOf(call), attempt)
    if (target === undefined) return answerOutOfScope(deps, attempt, call)
    if (target.stored !== undefined) {
      // One that is not the same may be an answer to the hash of an earlier build, or another request's.
      const earlier = target.stored.isSame
        ? openAnswer(target.stored, ANSWER)
        : await findCommandAnswer(deps.database, attempt)
      if (earlier === undefined) throw engineUnavailable()
      call.record.isReplay = true
      return earlier
    }
    const input = commandInputOf(request, role, call)
    const result = await sendUntilFinal(deps, command, target, input, call)
    if (result !== 'workflow closed' && result.ok) return result.answer
    // The same attempt may have taken effect on an earlier connection; then the answer written with the effect counts.
    const answer = await findCommandAnswer(deps.database, attempt)
    if (answer !== undefined) return answer
    if (result === 'workflow closed') throw await refusalOfClosedWorkflow(deps, command, input, target.order)
    if (isKeyInProgress(result)) throw new DomainError(KEY_IN_PROGRESS.reason, KEY_IN_PROGRESS.message)
    throw refusalError(result.reason, result.message, result.state)
  }

/**
 * The stored answer of an attempt whose order the caller does not reach: MarkDelivered moves an order out of
 * fulfilment's scope. Foreign and missing orders take the same two statements, so that their times are alike.
 */
async function answerOutOfScope({ database }: CommanderDeps, attempt: Attempt, call: Call): Promise<CommandAnswer> {
  const earlier = await findCommandAnswer(database, attempt)
  if (earlier === undefined) throw orderUnreachable(call)
  call.record.isReplay = true
  return earlier
}

/** The caller's role with the most rights for this command; the order's audit records it. */
function roleFor(command: Command, call: Call): ActorRole {
  if (hasRole(call.principal, 'admin')) return 'admin'
  return command === 'cancel' ? 'customer' : 'fulfilment'
}

/** @param requestHash for a request with personal data, the hash under the customer's key */
export const attemptOf = (
  key: string,
  call: Call,
  role: ActorRole,
  requestHash: Buffer = call.requestHash(),
): Attempt => ({
  actor: actorOf(call.principal),
  method: methodOf(call),
  key,
  requestHash,
  formerHash: () => formerHashOf(call),
  by: auditActorOf(call, role, requestHash),
})

/** @param requestHash as in attemptOf */
export const commandInputOf = (
  request: CommandRequest,
  role: ActorRole,
  call: Call,
  requestHash: Buffer = call.requestHash(),
): CommandInput => ({
  actor: actorOf(call.principal),
  role,
  method: methodOf(call),
  key: request.idempotencyKey,
  requestHash: requestHash.toString('hex'),
  requestId: call.record.requestId,
  tokenId: call.principal.tokenId,
  ...(request.expectedVersion !== undefined && { expectedVersion: request.expectedVersion }),
})

/** For example `CancelOrder`: method names are unique over all services. */
const methodOf = (call: Call): string => call.record.path.split('/')[2] ?? ''

/**
 * Sends the command as an update, and a second time if the first answer is transient. Temporal stores the answer of an
 * update, so a transient answer may be old and would be returned to every repeat of the attempt. The effect happens at
 * most once, since it is bound to the idempotency key.
 */
async function sendUntilFinal(
  deps: CommanderDeps,
  command: Command,
  target: CommandTarget,
  input: CommandInput,
  call: Call,
): Promise<CommandResult | 'workflow closed'> {
  const until = Math.min(call.deadline, Date.now() + (deps.engineWithinMs ?? ENGINE_WITHIN_MS))
  const updateId = updateIdOf(input, target.order.version)
  const first = await sendUpdate(deps, command, target, { input, updateId, until }, call)
  if (first === 'workflow closed' || (first !== 'run closed' && !isTransient(first))) return first
  // Not derived from the request id: a caller may send the same one with each repeat.
  const second = await sendUpdate(
    deps,
    command,
    target,
    { input, updateId: `${updateId}:${randomUUID()}`, until },
    call,
  )
  if (second === 'run closed') throw engineUnavailable()
  return second
}

/**
 * `workflow closed`: the workflow has ended. `run closed`: the run that accepted the update ended or continued as new
 * before it completed.
 */
type Outcome = CommandResult | 'workflow closed' | 'run closed'

/**
 * A retryable or internal failure says something about the workflow's condition at that moment, not about the command.
 */
function isTransient(result: CommandResult): boolean {
  const kind = result.ok ? undefined : FAILURES[result.reason]
  if (kind === undefined) return false
  return RETRYABLE_KINDS.has(kind) || kind === 'bug' || isKeyInProgress(result)
}

const isKeyInProgress = (result: CommandResult): boolean => !result.ok && result.reason === KEY_IN_PROGRESS.reason

/** Sends the update, and starts the workflow in the same call if that is still to be done. */
async function sendUpdate(
  deps: CommanderDeps,
  command: Command,
  { order: { orderId }, start }: CommandTarget,
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
    const failure = engineFailureOf(error)
    if (failure === 'workflow closed' || failure === 'run closed') return failure
    throw callerErrorOf(error, call)
  }
}

/**
 * An attempt always has the same update id, however often it is sent. The order's version is part of it because
 * Temporal stores refusals too: after a change of the order, the attempt must be decided again.
 */
const updateIdOf = ({ actor, method, key, requestHash }: CommandInput, version: bigint): string =>
  createHash('sha256').update([actor, method, key, requestHash, version].join('|')).digest('hex')

function callerErrorOf(error: unknown, call: Call): unknown {
  switch (engineFailureOf(error)) {
    case 'away':
      return engineUnavailable(error)
    case 'late':
      // The caller's deadline has not passed: the engine did not answer in time.
      if (Date.now() < call.deadline && !call.signal.aborted) return engineUnavailable(error)
      return deadlineExceeded(error)
    case 'rejected':
      return error instanceof WorkflowUpdateFailedError ? (rejectionOf(error) ?? error) : error
    default:
      return error
  }
}

/** A refusal by the workflow's validator has its reason as type and the order's state as detail. */
function rejectionOf(error: WorkflowUpdateFailedError): DomainError | undefined {
  const { cause } = error
  if (!(cause instanceof ApplicationFailure)) return undefined
  const reason = Object.keys(FAILURES).find((known): known is FailureReason => known === cause.type)
  const [state] = (cause.details ?? []) as Partial<OrderFacts>[]
  return reason === undefined ? undefined : refusalError(reason, cause.message, state ?? {})
}

type OrderFacts = { status: string; hold: string; version: number | bigint }

/** The error for the caller, with the part of the order's state that caused the refusal. */
function refusalError(reason: FailureReason, message: string, state: Partial<OrderFacts>): DomainError {
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

/**
 * The refusal for an order whose workflow has ended. If the order is not final, its workflow should not have ended:
 * that is ENGINE_UNAVAILABLE.
 */
async function refusalOfClosedWorkflow(
  deps: CommanderDeps,
  command: Command,
  input: CommandInput,
  before: OrderSnapshot & { userId: bigint },
): Promise<DomainError> {
  const current =
    (await findSnapshot(deps.database, before.orderId, { ownerId: before.userId, statuses: [] })) ?? before
  const refusal = refusalOf(command, input, { ...current, version: Number(current.version) })
  return refusal === undefined ? engineUnavailable() : refusalError(refusal.reason, refusal.message, current)
}

export const engineUnavailable = (cause?: unknown): DomainError =>
  new DomainError('ENGINE_UNAVAILABLE', 'The order cannot be changed at the moment; try again.', {
    retryAfterMs: RETRY_HINT_MS.outage,
    cause,
  })
