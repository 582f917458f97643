// One stack per data directory: two would break each other's chain, secrets and ports. Of two that find the same dead
// holder in the same instant both may pass here; Postgres's own lock on its data then stops one of them.

import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const FILE = 'stack.pid'

export type Claim = {
  /** The stack before this one did not stop in order: what it ran may still be ending. */
  readonly isAfterCrash: boolean
  readonly release: () => Promise<void>
}

/** @throws {Error} that says which process uses the directory and what to do */
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
