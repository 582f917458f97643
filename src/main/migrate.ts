// One-shot process: `node src/main/migrate.ts` migrates DATABASE_URL to the newest version.

import { ConfigError, loadConfig } from '../config.ts'
import { migrate } from '../db/migrate.ts'

try {
  const { version, applied } = await migrate(loadConfig('migrate').DATABASE_URL)
  for (const name of applied) process.stdout.write(`applied ${name}\n`)
  process.stdout.write(`database is at version ${version}\n`)
} catch (error) {
  const message = error instanceof Error ? error.message : 'unknown error'
  process.stderr.write(
    `${error instanceof ConfigError ? message : `migration failed, nothing was changed: ${message}`}\n`,
  )
  process.exitCode = 1
}
