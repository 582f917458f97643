// A pid-file lock: one stack per data directory, since two would break each other's chain, secrets and ports. Two that
// find the same dead holder at the same instant may both pass; Postgres's lock on its data then stops one of them.

import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const FILE = 'stack.pid'

export type Claim = {
  /** The previous stack did not stop in order: its children may still be ending. */
  readonly isAfterCrash: boolean
  readonly release: () => Promise<void>
}

/** @throws {Error} that names the process that uses the directory, and what to do */
export async function claimDataDir(dataDir: string): Promise<Claim> {
  await mkdir(dataDir, { recursive: true })
  const path = join(dataDir, FILE)
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, String(process.pid))
  const holder = await findHolder(path)
  try {
    if (holder !== undefined && !isAlive(holder)) await rm(path, { force: true })
    await link(draft, path)
    return { isAfterCrash: holder !== undefined, release: () => rm(path, { force: true }) }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
  throw new Error(
    `${dataDir} is in use by process ${await findHolder(path)}: stop that stack, or choose another directory with ` +
      `--data-dir. If that process is something else, remove ${path}`,
  )
}

async function findHolder(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined)
  return text === undefined ? undefined : Number(text)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
