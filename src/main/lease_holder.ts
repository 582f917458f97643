import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'

/** A name for this run of a process as the holder of leases; the next run on the same machine gets another. */
export const createLeaseHolder = (): string => `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`
