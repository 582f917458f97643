// Every way a request or a step can fail, named once. Three readers: grpc/status.ts (code and details),
// activities/failure.ts (retry or final) and proto error_reason.proto (public documentation).

export type FailureKind =
  | 'invalid'
  | 'unauthenticated'
  | 'denied'
  | 'not_found'
  | 'wrong_state'
  | 'conflict'
  | 'limited'
  | 'too_large'
  | 'deadline'
  | 'unavailable'
  | 'unimplemented'
  | 'bug'

/** Reason -> kind. Reasons are public and never renamed. */
export const FAILURES = {
  FIELD_INVALID: 'invalid',
  CALL_MALFORMED: 'invalid',
  IDEMPOTENCY_KEY_REUSED: 'invalid',
  CREDENTIALS_INVALID: 'unauthenticated',
  SIGNATURE_INVALID: 'unauthenticated',
  PERMISSION_DENIED: 'denied',
  NOT_FOUND: 'not_found',
  OUT_OF_STOCK: 'wrong_state',
  PRICE_CHANGED: 'wrong_state',
  PRODUCT_UNKNOWN: 'wrong_state',
  AMOUNT_OUT_OF_RANGE: 'wrong_state',
  ORDER_STATUS: 'wrong_state',
  ORDER_ON_HOLD: 'wrong_state',
  STOCK_BELOW_RESERVED: 'wrong_state',
  WORKFLOW_RUNNING: 'wrong_state',
  STEP_UP_REQUIRED: 'wrong_state',
  REPORT_CONFLICT: 'wrong_state',
  REFUND_STATUS: 'wrong_state',
  REFUND_TOO_LARGE: 'wrong_state',
  REFUND_APPROVER: 'wrong_state',
  VERSION_MISMATCH: 'conflict',
  IDEMPOTENCY_KEY_IN_PROGRESS: 'conflict',
  STALE_RUN: 'conflict',
  RATE_LIMITED: 'limited',
  TOO_MANY_CALLS: 'limited',
  TOO_MANY_STREAMS: 'limited',
  OVERLOADED: 'limited',
  MESSAGE_TOO_LARGE: 'too_large',
  DEADLINE_EXCEEDED: 'deadline',
  ADDRESS_POOL_EMPTY: 'unavailable',
  STOCK_BEING_RELEASED: 'unavailable',
  START_BACKLOG_FULL: 'unavailable',
  RATE_UNAVAILABLE: 'unavailable',
  ASSET_UNAVAILABLE: 'unavailable',
  ENGINE_UNAVAILABLE: 'unavailable',
  DATABASE_UNAVAILABLE: 'unavailable',
  ISSUER_UNAVAILABLE: 'unavailable',
  SHUTTING_DOWN: 'unavailable',
  METHOD_UNKNOWN: 'unimplemented',
  ENCODING_UNKNOWN: 'unimplemented',
  INTERNAL: 'bug',
} as const satisfies Record<string, FailureKind>

export type FailureReason = keyof typeof FAILURES

/** Keys that the metadata of a reason may have; no other key reaches a caller. A reason without an entry has none. */
export const METADATA_KEYS: Readonly<Partial<Record<FailureReason, readonly string[]>>> = {
  CALL_MALFORMED: ['part'],
  NOT_FOUND: ['product_id'],
  OUT_OF_STOCK: ['product_id', 'wanted', 'available'],
  PRICE_CHANGED: ['product_id', 'unit_price'],
  PRODUCT_UNKNOWN: ['product_id'],
  ORDER_STATUS: ['status'],
  ORDER_ON_HOLD: ['hold'],
  STOCK_BELOW_RESERVED: ['product_id', 'reserved'],
  STEP_UP_REQUIRED: ['acr', 'max_age'],
  REPORT_CONFLICT: ['seq'],
  REFUND_STATUS: ['status'],
  REFUND_TOO_LARGE: ['available'],
  VERSION_MISMATCH: ['version'],
  RATE_LIMITED: ['class'],
  TOO_MANY_CALLS: ['limit'],
  TOO_MANY_STREAMS: ['limit'],
  MESSAGE_TOO_LARGE: ['limit_bytes'],
  STOCK_BEING_RELEASED: ['product_id'],
  RATE_UNAVAILABLE: ['asset'],
  ASSET_UNAVAILABLE: ['asset', 'cause'],
  INTERNAL: ['incident_id'],
}

/** How long callers are advised to wait before they try again, by what is in the way (google.rpc.RetryInfo). */
export const RETRY_HINT_MS = {
  /** Other calls, which end within moments. What is unavailable for no named cause counts as this. */
  contention: 500,
  /** A lock, a full pool, a database or a Temporal that does not answer: longer than their own retries take. */
  outage: 1_000,
  /** Accepted orders without a workflow: many starts come first. */
  backlog: 5_000,
  /** A chain that the watcher does not see: a block may take longer to come. */
  chain: 10_000,
} as const

/** One field that broke its rule; the rejected value is never repeated. */
export type FieldViolation = { field: string; description: string }

/** One limit that was exceeded. `subject` is a kind of counter, such as `user` or `address`, and never an id. */
export type QuotaViolation = { subject: string; description: string }

export type FailureDetail = {
  /** Public facts: keys `[a-z][a-zA-Z0-9_]+`, no personal data. */
  metadata?: Readonly<Record<string, string>>
  violations?: readonly FieldViolation[]
  /** Sent as google.rpc.QuotaFailure. */
  quota?: readonly QuotaViolation[]
  retryAfterMs?: number
  cause?: unknown
}

/** The only error whose text may reach a caller. Everything else becomes INTERNAL with an incident id. */
export class DomainError extends Error {
  override readonly name = 'DomainError'
  readonly reason: FailureReason
  readonly kind: FailureKind
  readonly metadata: Readonly<Record<string, string>>
  readonly violations: readonly FieldViolation[]
  readonly quota: readonly QuotaViolation[]
  readonly retryAfterMs: number | undefined

  constructor(reason: FailureReason, message: string, detail: FailureDetail = {}) {
    super(message, { cause: detail.cause })
    this.reason = reason
    this.kind = FAILURES[reason]
    this.metadata = detail.metadata ?? {}
    this.violations = detail.violations ?? []
    this.quota = detail.quota ?? []
    this.retryAfterMs = detail.retryAfterMs
  }
}

/** Kinds that may pass if the same thing is tried again later; all others are final. */
export const RETRYABLE_KINDS: ReadonlySet<FailureKind> = new Set(['limited', 'deadline', 'unavailable'])
