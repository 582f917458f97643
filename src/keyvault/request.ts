// Keyed hash of a request without personal data, for the audit and for the comparison of repeats. A plain hash would
// confirm a guess of what was asked. The hash of a request with personal data is made under its customer's key: pii.ts.

import { createHmac } from 'node:crypto'
import { contextOf } from './seal.ts'

/** HMAC-SHA-256 of a request. `path` names its method. */
export type RequestHash = (path: string, request: Buffer) => Buffer

/**
 * Creates the hash of one server secret. All api processes have the same secret, so that they agree. The secret may have
 * other uses: each has its own context.
 */
export const createRequestHash =
  (secret: Buffer): RequestHash =>
  (path, request) =>
    createHmac('sha256', secret)
      .update(contextOf(['holdfast request', path]))
      .update(request)
      .digest()
