// The skeleton of every process, by one that does as it is told.

import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from '@jest/globals'
import { killAll, startProcess, type RunningProcess } from '../../test/support/process.ts'
import { until } from '../../test/support/until.ts'
import { freePorts } from '../servers/port.ts'

const PLAY = fileURLToPath(new URL('../../test/support/process_fixture.ts', import.meta.url))
const processes: RunningProcess[] = []
afterEach(() => killAll(processes))

async function play(name: string): Promise<RunningProcess> {
  const [port = 0] = await freePorts(1)
  const env = {
    DATABASE_URL: 'postgresql://unused@127.0.0.1:9/unused',
    HOLDFAST_KEY_KEYRING_FILE: 'unused',
    HOLDFAST_METRICS_PORT: String(port),
  }
  const started = startProcess([PLAY, name], env, port)
  processes.push(started)
  return started
}

describe('a process', () => {
  test.each([
    'fails at its start',
    'fails later',
    'fails and does not come to its end',
    'fails where it closes',
    'loses a promise',
  ])('that %s ends with a code of failure, whatever is open', async (name) => {
    const { code, output } = await (await play(name)).ended
    expect(code).toBe(1)
    expect(output).toContain('keys failed')
    expect(output).not.toMatch(/nothing works|nobody waits/)
  })

  test('that does not hear a signal is cut off with a code of failure', async () => {
    const deaf = await play('does not hear')
    await until(() => deaf.health())
    expect((await deaf.stop()).code).toBe(1)
  })

  test('that stops in order ends with 0', async () => {
    const good = await play('stops in order')
    await until(() => good.health())
    expect(await good.stop()).toMatchObject({ code: 0, output: expect.stringContaining('keys stopped') })
  })

  test('whose loop has stopped turning says that it is not alive', async () => {
    const lost = await play('loses its loop')
    await until(async () => (await lost.health())?.healthz === 503)
    expect(await lost.health()).toEqual({ healthz: 503, readyz: 200 })
  })
})
