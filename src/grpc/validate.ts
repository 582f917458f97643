// Runs a method's schema and tells the caller which fields broke their rule, by their names in the proto, and never
// what they held.

import type { z } from 'zod'
import { DomainError, type FieldViolation } from '../domain/failure.ts'

type Issue = z.core.$ZodIssue

/** The message in the domain's types. Throws FIELD_INVALID with a violation for each rule broken. */
export function parseMessage<Schema extends z.ZodType>(schema: Schema, message: unknown): z.output<Schema> {
  const result = schema.safeParse(message)
  if (result.success) return result.data
  throw fieldInvalid(result.error.issues.map(violationOf))
}

export const fieldInvalid = (violations: readonly FieldViolation[]): DomainError =>
  new DomainError('FIELD_INVALID', `Wrong: ${violations[0]?.field || 'the message'}.`, { violations })

const violationOf = (issue: Issue): FieldViolation => ({
  field: fieldOf(issue.path),
  description: descriptionOf(issue),
})

/** ['lines', 0, 'unitPrice'] -> `lines[0].unit_price`; the inside of a oneof belongs to the oneof. */
const fieldOf = (path: readonly PropertyKey[]): string =>
  path
    .filter((part) => part !== '$case' && part !== 'value')
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${snakeOf(String(part))}`))
    .join('')
    .slice(1)

const snakeOf = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** Only issues with words of our own say more than that a value is missing or of another type. */
const descriptionOf = (issue: Issue): string =>
  issue.code === 'invalid_type' || issue.code === 'unrecognized_keys'
    ? 'must be given, in the type of the proto'
    : issue.message
