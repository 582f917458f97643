import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp } from 'node:fs/promises'
import { expect, test } from '@jest/globals'
import { createMemoryDir } from './memory_disk.ts'

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

test('what a killed run has left in memory goes with the next run, and what another one uses stays', async () => {
  const mine = await createMemoryDir(undefined)
  // A machine without room in memory keeps nothing there.
  if (mine === undefined) return
  const ended = spawn(process.execPath, ['--eval', ''])
  await once(ended, 'exit')
  const abandoned = await mkdtemp(`/dev/shm/holdfast-test-${ended.pid}-`)
  const other = await createMemoryDir(undefined)
  expect(await isThere(abandoned)).toBe(false)
  expect(await isThere(mine.path)).toBe(true)
  await mine.remove()
  await other?.remove()
  expect(await isThere(mine.path)).toBe(false)
})
