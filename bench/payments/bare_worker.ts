// The worker process of the bare engine, with its client. Each question starts workflows, or sends each an update at a
// steady rate; its answer is how long the updates took.

import { randomUUID } from 'node:crypto'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { openEngine } from '../order_flow/engine.ts'
import { look } from './bare_workflow.ts'
import { runPaced, type Paced } from './paced.ts'

export type NothingActivities = { doNothing: () => Promise<void> }
export type BareConfig = { temporalAddress: string; namespace: string }
export type BareQuestion = { count: number; ratePerS: number }

const STARTS_AT_ONCE = 16

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`)
const config = JSON.parse((await lines.next()).value ?? '{}') as BareConfig
const activities: NothingActivities = { doNothing: async () => undefined }
const workflowsPath = fileURLToPath(new URL('bare_workflow.ts', import.meta.url))
const { client, taskQueue, close } = await openEngine(config, { workflowsPath, activities })
say({})

async function startOne(): Promise<string> {
  const workflowId = randomUUID()
  await client.workflow.start('bare', { workflowId, taskQueue, requestEagerStart: true })
  return workflowId
}

async function update({ count, ratePerS }: BareQuestion): Promise<Paced> {
  const workflowIds: string[] = []
  while (workflowIds.length < count)
    workflowIds.push(...(await Promise.all(Array.from({ length: STARTS_AT_ONCE }, startOne))))
  return runPaced(workflowIds.slice(0, count), ratePerS, (id) => client.workflow.getHandle(id).executeUpdate(look))
}

for (let line = await lines.next(); line.done !== true; line = await lines.next())
  say(await update(JSON.parse(line.value) as BareQuestion))
await close()
