// Seals of refunds: Ed25519 signatures over what a customer confirmed and what an approver approved. The api has the key,
// and the payer the public half: a database credential alone makes no seal.

import { DomainError } from '../domain/failure.ts'
import {
  approvalTextOf,
  destinationTextOf,
  type ApprovalStatement,
  type DestinationStatement,
} from '../domain/refund_statement.ts'
import { isTextSigned, type PublicKeys, type TextSigner } from './ed25519.ts'

/** The key's id, a dot, and the signature. */
const SEAL = /^([0-9a-f]{16})\.([A-Za-z0-9_-]{86})$/

export type RefundSealer = {
  sealDestination: (statement: DestinationStatement) => string
  sealApproval: (statement: ApprovalStatement) => string
}
export type RefundSealCheck = {
  isDestinationSealed: (statement: DestinationStatement, seal: string | null) => boolean
  isApprovalSealed: (statement: ApprovalStatement, seal: string | null) => boolean
}

export function createRefundSealer({ keyId, sign }: TextSigner): RefundSealer {
  const seal = <T extends DestinationStatement>(statement: T, textOf: (given: T, keyId: string) => string): string => {
    // A value with a line feed could pretend to be another field.
    if (!isOnOneLine(statement)) throw new DomainError('INTERNAL', 'A value of the refund has several lines.')
    return `${keyId}.${sign(textOf(statement, keyId)).toString('base64url')}`
  }
  return {
    sealDestination: (statement) => seal(statement, destinationTextOf),
    sealApproval: (statement) => seal(statement, approvalTextOf),
  }
}

export function createRefundSealCheck(keys: PublicKeys): RefundSealCheck {
  const isSealed = (textOf: (keyId: string) => string, seal: string | null, statement: DestinationStatement) => {
    const [, keyId, signature] = SEAL.exec(seal ?? '') ?? []
    if (keyId === undefined || signature === undefined || !isOnOneLine(statement)) return false
    return isTextSigned(textOf(keyId), keyId, Buffer.from(signature, 'base64url'), keys)
  }
  return {
    isDestinationSealed: (statement, seal) => isSealed((keyId) => destinationTextOf(statement, keyId), seal, statement),
    isApprovalSealed: (statement, seal) => isSealed((keyId) => approvalTextOf(statement, keyId), seal, statement),
  }
}

const isOnOneLine = (statement: DestinationStatement): boolean =>
  Object.values(statement).every((value) => !/[\n\r]/.test(value))
