// The checks of an access token, and the error of the one that failed. Its name is for the log and the metrics: the
// caller gets one text, whatever is wrong.

import { DomainError } from './failure.ts'

/** In about the order in which they are made. docs/tokens.md explains each. */
export const TOKEN_CHECKS = [
  ...(['authorization', 'shape', 'alg', 'kid', 'signature', 'encoding'] as const),
  ...(['typ', 'iss', 'aud', 'exp', 'nbf', 'iat', 'age', 'jti', 'sub', 'roles', 'amr', 'auth_time'] as const),
  ...(['certificate', 'account'] as const),
] as const
export type TokenCheck = (typeof TOKEN_CHECKS)[number]

/** The cause of CREDENTIALS_INVALID. It has nothing of the token but the name of the check. */
export class TokenCheckError extends Error {
  override readonly name = 'TokenCheckError'
  readonly check: TokenCheck

  constructor(check: TokenCheck) {
    super(`the token fails the check of ${check}`)
    this.check = check
  }
}

/** CREDENTIALS_INVALID, with one text whatever is wrong. */
export const credentialsInvalid = (check: TokenCheck): DomainError =>
  new DomainError('CREDENTIALS_INVALID', 'The call carries no valid access token.', {
    cause: new TokenCheckError(check),
  })

/** The check of this name; undefined if there is none. */
export const findTokenCheck = (name: unknown): TokenCheck | undefined => TOKEN_CHECKS.find((check) => check === name)
