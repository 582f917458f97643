// Validates a request with its method's schema. The caller learns which fields are invalid, by their proto names, and
// never their values.

import type { z } from 'zod'
import { DomainError, type FieldViolation } from '../domain/failure.ts'

type Issue = z.core.$ZodIssue

/** The message in the domain's types. Throws FIELD_INVALID with one violation per broken rule. */
export function parseMessage<Schema extends z.ZodType>(schema: Schema, message: unknown): z.output<Schema> {
  const result = schema.safeParse(message)
  if (result.success) return result.data
  throw fieldInvalid(result.error.issues.map(violationOf))
}

/** The message has the first rule in full: a caller who prints it alone knows what to correct. */
export function fieldInvalid(violations: readonly FieldViolation[]): DomainError {
  const [first] = violations
  const rule = `${first?.field || 'message'}: ${first?.description ?? 'must be a message of this type'}`
  const others = violations.length > 1 ? ` (and ${violations.length - 1} more)` : ''
  return new DomainError('FIELD_INVALID', `${rule}${others}`, { violations })
}

const violationOf = (issue: Issue): FieldViolation => ({
  field: fieldOf(issue.path),
  description: descriptionOf(issue),
})

/** ['lines', 0, 'unitPrice'] -> `lines[0].unit_price`; a member of a oneof is reported as the oneof. */
const fieldOf = (path: readonly PropertyKey[]): string =>
  path
    .filter((part) => part !== '$case' && part !== 'value')
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${snakeOf(String(part))}`))
    .join('')
    .slice(1)

const snakeOf = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** The rule's own text. Zod's text for a value that is missing or of another type is about its own types. */
const descriptionOf = (issue: Issue): string =>
  issue.code === 'unrecognized_keys' || issue.message.startsWith('Invalid input')
    ? 'must be given, in the type of the proto'
    : issue.message
