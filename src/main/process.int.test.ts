// The skeleton of every process, by one that does as it is told.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { killAll, startProcess, type RunningProcess } from '../../test/support/process.ts'
import { until } from '../../test/support/until.ts'
import { freePorts } from '../servers/port.ts'

const PLAY = fileURLToPath(new URL('../../test/support/process_fixture.ts', import.meta.url))
const processes: RunningProcess[] = []
let folder: string
let ringFile: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-process-'))
  ringFile = join(folder, 'ring.json')
  const versions = [1, 2].map((version) => ({ version, secret: randomBytes(32).toString('base64') }))
  await writeFile(ringFile, JSON.stringify({ primary: 2, versions }))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => killAll(processes))

async function play(name: string): Promise<RunningProcess> {
  const [port = 0] = await freePorts(1)
  const env = {
    DATABASE_URL: 'postgresql://unused@127.0.0.1:9/unused',
    HOLDFAST_KEY_KEYRING_FILE: ringFile,
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

  test('that is asked to stop is alive and not ready until its end', async () => {
    const busy = await play('stops when its work is done')
    await until(async () => (await busy.health())?.readyz === 200)
    busy.child.kill('SIGTERM')
    await until(async () => (await busy.health())?.readyz === 503)
    expect(await busy.health()).toEqual({ healthz: 200, readyz: 503 })
    expect((await busy.ended).code).toBe(0)
  })

  test('opens no debugger on SIGUSR1, even when Node is started without its switch', async () => {
    const watched = await play('stops in order')
    await until(() => watched.health())
    watched.child.kill('SIGUSR1')
    await until(() => watched.output().includes('SIGUSR1 ignored'))
    const { code, output } = await watched.stop()
    expect(code).toBe(0)
    expect(output).not.toContain('Debugger')
  })

  test('whose loop has stopped turning says that it is not alive', async () => {
    const lost = await play('loses its loop')
    await until(async () => (await lost.health())?.healthz === 503)
    expect(await lost.health()).toEqual({ healthz: 503, readyz: 200 })
  })

  test('whose loop has stopped turning ends itself under a watchdog, with a code of failure', async () => {
    const { code, output } = await (await play('loses its loop under a watchdog')).ended
    expect(code).toBe(1)
    expect(output).toContain('StuckError')
  })
})
