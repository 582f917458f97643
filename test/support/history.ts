// Recorded workflow histories, which the replay tests run new workflow code against. HOLDFAST_RECORD=1 records them
// again from runs of the real workflow on a real server.

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { WorkflowHandle } from '@temporalio/client'
import proto from '@temporalio/proto'

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>

const DIR = fileURLToPath(new URL('../replay/histories/', import.meta.url))

export const isRecording = process.env['HOLDFAST_RECORD'] === '1'

/** Stores the history of a run as `path`, when recording. */
export async function recordHistory(handle: WorkflowHandle, path: string): Promise<void> {
  if (!isRecording) return
  const history = await handle.fetchHistory()
  await mkdir(DIR, { recursive: true })
  const json = proto.temporal.api.history.v1.History.toObject(
    proto.temporal.api.history.v1.History.fromObject(history),
    {
      longs: String,
      enums: String,
      bytes: String,
    },
  )
  await writeFile(`${DIR}${path}.json`, `${JSON.stringify(json, undefined, 1)}\n`)
}

/** All recorded histories, by path. */
export async function readHistories(): Promise<{ path: string; history: History }[]> {
  const files = (await readdir(DIR)).filter((name) => name.endsWith('.json')).toSorted()
  return Promise.all(
    files.map(async (name) => ({
      path: name.replace('.json', ''),
      history: proto.temporal.api.history.v1.History.fromObject(JSON.parse(await readFile(`${DIR}${name}`, 'utf8'))),
    })),
  )
}
