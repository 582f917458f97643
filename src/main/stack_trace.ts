// Limits the depth of stack traces in workflow threads.

import { setFlagsFromString } from 'node:v8'

/** The place where an error was created, and its caller. */
const FRAMES = 2

/**
 * Limits the stack traces of every thread that starts after this call. The SDK takes one per promise of a workflow, for
 * the call stack in Temporal's UI; with V8's ten frames that was a third of the workflow thread's work
 * (docs/decisions/0015). An order's current details show what it waits for. The calling thread keeps its own limit.
 */
export const limitStackTraces = (): void => setFlagsFromString(`--stack-trace-limit=${FRAMES}`)
