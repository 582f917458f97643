import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'

/** Names this run of a process as the holder of leases: a run that follows on the same machine is another. */
export const createLeaseHolder = (): string => `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`
