import { Metadata, status } from '@grpc/grpc-js'
import { describe, expect, test } from '@jest/globals'
import {
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client'
import { ApplicationFailure, NamespaceNotFoundError } from '@temporalio/common'
import { engineFailureOf, type EngineFailure } from './engine_failure.ts'

const CODES = Object.values(status).filter((code): code is status => typeof code === 'number' && code !== status.OK)
const EXPECTED: Readonly<Partial<Record<status, EngineFailure>>> = {
  [status.NOT_FOUND]: 'workflow closed',
  [status.ALREADY_EXISTS]: 'workflow closed',
  [status.DEADLINE_EXCEEDED]: 'late',
  [status.CANCELLED]: 'late',
}

/** As grpc-js makes them. */
const grpcError = (code: status): Error =>
  Object.assign(new Error(`${code} ${status[code]}: text`), { code, details: 'text', metadata: new Metadata() })

describe.each(CODES.map((code) => [status[code], code] as const))('%s of the engine', (_, code) => {
  const expected = EXPECTED[code] ?? 'away'

  test('is classified where the client wraps it', () => {
    expect(engineFailureOf(new ServiceError('Workflow Update failed', { cause: grpcError(code) }))).toBe(expected)
  })

  test('is classified where an update-with-start throws it bare', () => {
    expect(engineFailureOf(grpcError(code))).toBe(expected)
  })
})

test.each<[string, unknown, EngineFailure]>([
  ['a workflow that is not found', new WorkflowNotFoundError('gone', 'order:1', undefined), 'workflow closed'],
  ['a start that was used up', new WorkflowExecutionAlreadyStartedError('used', 'order:1', 'order'), 'workflow closed'],
  ['a namespace that is not found', new NamespaceNotFoundError('shop'), 'away'],
  ['a call that ended without an answer', new WorkflowUpdateRPCTimeoutOrCancelledError('late'), 'late'],
  ['a failure below gRPC', new ServiceError('Unexpected error', { cause: new Error('socket') }), 'away'],
  [
    'a run that closed under an update',
    new WorkflowUpdateFailedError('failed', ApplicationFailure.create({ type: 'AcceptedUpdateCompletedWorkflow' })),
    'run closed',
  ],
  [
    'a refusal by the workflow',
    new WorkflowUpdateFailedError('failed', ApplicationFailure.create({ type: 'ORDER_STATUS' })),
    'rejected',
  ],
  ['a bug', new TypeError('x is undefined'), 'unknown'],
  ['an error with a code that is not gRPC’s', Object.assign(new Error('x'), { code: 14 }), 'unknown'],
])('%s is told apart', (_, error, expected) => {
  expect(engineFailureOf(error)).toBe(expected)
})
