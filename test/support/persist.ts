// A caller that does not give up: it repeats a call under the same idempotency key while the failure may pass.

import { setTimeout as sleep } from 'node:timers/promises'
import { DomainError } from '../../src/domain/failure.ts'
import { TransportError } from '../../src/grpc/client.ts'

const PERSIST_WITHIN_MS = 120_000
const PAUSE_MS = 200
const PASSING: readonly string[] = ['unavailable', 'deadline', 'limited', 'conflict']

/** Retries a call that may have been cut off, as its idempotency key allows. */
export async function persist<T>(call: () => Promise<T>, withinMs = PERSIST_WITHIN_MS): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    try {
      return await call()
    } catch (error) {
      const isPassing =
        error instanceof TransportError || (error instanceof DomainError && PASSING.includes(error.kind))
      if (!isPassing || performance.now() > deadline) throw error
      await sleep(PAUSE_MS)
    }
  }
}
