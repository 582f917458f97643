// Classifies failures of Temporal's client in a command. Most are ServiceErrors. For update-with-start the client may
// also throw the bare gRPC error of one of the two operations.

import { status } from '@grpc/grpc-js'
import {
  isGrpcServiceError,
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client'
import { ApplicationFailure, NamespaceNotFoundError } from '@temporalio/common'

/** Temporal's failure type for an update whose run closed before it completed. */
const RUN_CLOSED = 'AcceptedUpdateCompletedWorkflow'

/**
 * `workflow closed`: the workflow has ended, or its id was used up. `run closed`: the run that accepted the update ended
 * or continued as new before it completed. `rejected`: the workflow answered, with a refusal. `late`: no answer in
 * time, or the caller went away. `away`: the engine cannot do it now. `unknown`: not an answer of the engine: a bug.
 */
export type EngineFailure = 'workflow closed' | 'run closed' | 'rejected' | 'late' | 'away' | 'unknown'

const BY_CODE: Readonly<Partial<Record<status, EngineFailure>>> = {
  [status.NOT_FOUND]: 'workflow closed',
  [status.ALREADY_EXISTS]: 'workflow closed',
  [status.DEADLINE_EXCEEDED]: 'late',
  [status.CANCELLED]: 'late',
}

export function engineFailureOf(error: unknown): EngineFailure {
  if (error instanceof WorkflowNotFoundError || error instanceof WorkflowExecutionAlreadyStartedError)
    return 'workflow closed'
  if (error instanceof WorkflowUpdateFailedError)
    return error.cause instanceof ApplicationFailure && error.cause.type === RUN_CLOSED ? 'run closed' : 'rejected'
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return 'late'
  if (error instanceof NamespaceNotFoundError) return 'away'
  // Whatever the code: a caller cannot correct what the engine has against our request.
  if (isGrpcServiceError(error)) return BY_CODE[error.code] ?? 'away'
  if (!(error instanceof ServiceError)) return 'unknown'
  return isGrpcServiceError(error.cause) ? (BY_CODE[error.cause.code] ?? 'away') : 'away'
}
