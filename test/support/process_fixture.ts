// A test process that behaves as its argument says: `node process_fixture.ts NAME`. For the tests of the skeleton that
// all processes share.

import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { aborted, runService, type ServiceContext } from '../../src/main/process.ts'

const FIXTURE_STOP_WITHIN_MS = 5_000
const FIXTURE_LIVE_WITHIN_MS = 200
const FIXTURE_WORK_MS = 2_500

/** Keeps a process alive, as a native thread or a lost connection does. */
const holdOn = (): void => void createServer().listen(0, '127.0.0.1')
const never = (): Promise<never> => new Promise(() => undefined)

async function loseLoop(service: ServiceContext<'keys'>): Promise<void> {
  await service.listen()
  service.readyWhen(async () => true)
  service.beat('loop')
  await aborted(service.stopping)
}

const PLAYS: Readonly<Record<string, (service: ServiceContext<'keys'>) => Promise<void>>> = {
  'fails at its start': async () => {
    holdOn()
    throw new Error('nothing works')
  },
  'fails later': async (service) => {
    await service.listen()
    holdOn()
    setImmediate(() => service.fail(new Error('nothing works any more')))
    await aborted(service.stopping)
  },
  'fails and does not come to its end': async (service) => {
    holdOn()
    setImmediate(() => service.fail(new Error('nothing works any more')))
    await never()
  },
  'fails where it closes': async (service) => {
    holdOn()
    service.onStop(never)
    throw new Error('nothing works')
  },
  'loses a promise': async (service) => {
    holdOn()
    void Promise.reject(new Error('unhandled rejection'))
    await aborted(service.stopping)
  },
  'does not hear': async (service) => {
    await service.listen()
    await never()
  },
  'stops in order': async (service) => {
    await service.listen()
    await aborted(service.stopping)
  },
  'stops when its work is done': async (service) => {
    await service.listen()
    service.readyWhen(async () => true)
    await aborted(service.stopping)
    // The work that a stop lets finish; below FIXTURE_STOP_WITHIN_MS.
    await delay(FIXTURE_WORK_MS)
  },
  'loses its loop': loseLoop,
  'loses its loop under a watchdog': loseLoop,
}

/** Which plays have a watchdog. */
const STUCK_WITHIN_MS: Readonly<Record<string, number>> = { 'loses its loop under a watchdog': 300 }
const play = process.argv[2] ?? ''
const stuckWithinMs = STUCK_WITHIN_MS[play]

await runService('keys', PLAYS[play] ?? never, {
  stopWithinMs: () => FIXTURE_STOP_WITHIN_MS,
  liveWithinMs: FIXTURE_LIVE_WITHIN_MS,
  ...(stuckWithinMs !== undefined && { stuckWithinMs }),
})
