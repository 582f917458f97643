// Reader of a secret's file on an operator's machine. It refuses a file that other users can read or change.

import { constants } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { UsageError } from './exit.ts'

const MAX_BYTES = 65_536
const OTHERS_ANY = 0o077
const OTHERS_WRITE = 0o022
const ROOT = 0

/**
 * Reads a file that is its owner's alone: no rights for others on the file (0600 or 0400), or on the folder around it
 * (0700), as ops/make-secrets.mjs creates them. The owner is the caller or root. Rights are read from the open file, which
 * no exchange of files can change. Throws UsageError, which names the option and the path.
 */
export async function readPrivateFile(option: string, path: string): Promise<string> {
  const refuse = (why: string): UsageError => new UsageError(`${option}: ${path} ${why}`)
  // Without O_NONBLOCK, a named pipe would be waited for.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => {
    throw refuse('cannot be read')
  })
  try {
    const state = await file.stat()
    if (!state.isFile()) throw refuse('is not a file')
    if (state.size > MAX_BYTES) throw refuse('is too large')
    const folder = await stat(dirname(resolve(path)))
    const isOwn = [state, folder].every(({ uid }) => uid === ROOT || uid === process.geteuid?.())
    const isClosed = (state.mode & OTHERS_ANY) === 0 || (folder.mode & OTHERS_ANY) === 0
    if (!isOwn || !isClosed || (state.mode & OTHERS_WRITE) !== 0)
      throw refuse('is open to other users: chmod 600 the file, or chmod 700 its folder')
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}
