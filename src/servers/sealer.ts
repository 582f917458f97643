// The sealer of a development stack after a restore: it refuses to sign, and everything else runs, so that a person can
// look; told to adopt the database, it goes on from there.

import { execFile } from 'node:child_process'
import { addressOf, type ProcessSpec } from './wiring.ts'

const ASK_WITHIN_MS = 2_000
const ADOPT_WITHIN_MS = 60_000

/** Why the sealer refuses to go on, by its own metrics; undefined while it does not. */
export async function findRefusal({ metricsPort }: ProcessSpec): Promise<string | undefined> {
  const url = `http://${addressOf(metricsPort)}/metrics`
  const text = await (await fetch(url, { signal: AbortSignal.timeout(ASK_WITHIN_MS) })).text()
  return /^holdfast_audit_seal_refused\{reason="(\w+)"[^}]*\} 1$/m.exec(text)?.[1]
}

/** Has the sealer take the database as it is for the one that was restored. @throws {Error} that says why it does not */
export async function adoptDatabase({ entry, env }: ProcessSpec): Promise<void> {
  const options = { env, timeout: ADOPT_WITHIN_MS }
  await new Promise<void>((resolve, reject) => {
    execFile(process.execPath, [entry, 'adopt'], options, (error, _stdout, stderr) => {
      if (error === null) resolve()
      else reject(new Error(`the sealer does not adopt the database: ${stderr.trim()}`))
    })
  })
}
