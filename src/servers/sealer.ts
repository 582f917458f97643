// The sealer of a development stack after a restore. It refuses to sign while everything else runs, so that an operator
// can look; after `adopt` it continues from the restored database.

import { execFile } from 'node:child_process'
import { NODE_SWITCHES } from './process.ts'
import { addressOf, type ProcessSpec } from './wiring.ts'

const ASK_WITHIN_MS = 2_000
const ADOPT_WITHIN_MS = 60_000

/** Why the sealer refuses to sign, from its metrics; undefined while it does not refuse. */
export async function findRefusal({ metricsPort }: ProcessSpec): Promise<string | undefined> {
  const url = `http://${addressOf(metricsPort)}/metrics`
  const text = await (await fetch(url, { signal: AbortSignal.timeout(ASK_WITHIN_MS) })).text()
  return /^holdfast_audit_seal_refused\{reason="(\w+)"[^}]*\} 1$/m.exec(text)?.[1]
}

/** Makes the sealer adopt the database as the restored one. @throws {Error} with the sealer's reason for refusing */
export async function adoptDatabase({ entry, env }: ProcessSpec): Promise<void> {
  const options = { env, timeout: ADOPT_WITHIN_MS }
  await new Promise<void>((resolve, reject) => {
    execFile(process.execPath, [...NODE_SWITCHES, entry, 'adopt'], options, (error, _stdout, stderr) => {
      if (error === null) resolve()
      else reject(new Error(`the sealer refused to adopt the database: ${stderr.trim()}`))
    })
  })
}
