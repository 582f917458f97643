// How much of its stack workflow code writes down.

import { setFlagsFromString } from 'node:v8'

/** The place where an error was made, and its caller. */
const FRAMES = 2

/**
 * Shortens the stack traces of every thread begun after this call. The SDK takes one for each promise of a workflow, for
 * the call stack in Temporal's UI; with V8's ten frames that was a third of what the workflow thread did
 * (docs/decisions/0015). What an order waits for stands in its current details. The calling thread keeps its own limit.
 */
export const limitStackTraces = (): void => setFlagsFromString(`--stack-trace-limit=${FRAMES}`)
