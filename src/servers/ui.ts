// Temporal's UI, for people who inspect orders in `npm start`.

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { spawnChild, type Child } from './child.ts'
import { assertPortFree } from './port.ts'

const HOST = '127.0.0.1'
const ENVIRONMENT = 'holdfast'
const UI_READY_WITHIN_MS = 20_000
const UI_STOP_WITHIN_MS = 5_000
const CALL_WITHIN_MS = 1_000

export type TemporalUiOptions = {
  readonly binary: string
  readonly port: number
  /** host:port of the server it shows. */
  readonly temporalAddress: string
  readonly dataDir: string
}

export type TemporalUi = Child & { readonly url: string }

/**
 * Starts the UI of a running Temporal server.
 * @throws {StartError} when it does not come up; {Error} when the port is taken
 */
export async function startTemporalUi(options: TemporalUiOptions): Promise<TemporalUi> {
  const { binary, port, temporalAddress, dataDir } = options
  await assertPortFree(port, "Temporal's UI")
  const home = join(dataDir, 'temporal-ui')
  await mkdir(home, { recursive: true })
  const config = {
    temporalGrpcAddress: temporalAddress,
    host: HOST,
    port,
    enableUi: true,
    defaultNamespace: 'holdfast',
    disableNewsFetch: true,
  }
  // JSON is YAML.
  await writeFile(join(home, `${ENVIRONMENT}.yaml`), JSON.stringify(config, null, 2))
  const url = `http://${HOST}:${port}`
  const child = await spawnChild({
    name: 'temporal-ui',
    command: binary,
    args: ['--root', home, '--config', '.', '--env', ENVIRONMENT, 'start'],
    env: {},
    logFile: join(dataDir, 'log', 'temporal-ui.log'),
    isReady: async () => (await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(CALL_WITHIN_MS) })).ok,
    readyWithinMs: UI_READY_WITHIN_MS,
    stopWithinMs: UI_STOP_WITHIN_MS,
  })
  return { ...child, url }
}
