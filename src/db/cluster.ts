// Prepares a Postgres server so that processes can log in as their roles. Only for servers that we set up; a shop's own
// Postgres grants logins in its own way.

import pg from 'pg'
import { sessionConfig } from './connection/session.ts'

/** `connectionLimit`: the most sessions of the role, so that no process can use up the others' share. */
export type Login = { role: string; password: string; connectionLimit: number }

/**
 * Creates the database `name` unless it exists.
 * @returns its URL, for the same role
 */
export async function ensureDatabase(url: string, name: string): Promise<string> {
  await withClient(url, async (client) => {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount === 0) await client.query(`create database ${pg.escapeIdentifier(name)}`)
  })
  const own = new URL(url)
  own.pathname = `/${name}`
  return own.href
}

/** Ends all sessions of the database and drops it. */
export async function dropDatabase(url: string, name: string): Promise<void> {
  await withClient(url, (client) => client.query(`drop database ${pg.escapeIdentifier(name)} with (force)`))
}

/** Grants logins to roles that the migrations created. The role in `url` must be allowed to alter them. */
export async function grantLogins(url: string, logins: readonly Login[]): Promise<void> {
  await withClient(url, async (client) => {
    for (const { role, password, connectionLimit } of logins) {
      const [name, secret] = [pg.escapeIdentifier(role), pg.escapeLiteral(password)]
      await client.query(`alter role ${name} login password ${secret} connection limit ${connectionLimit}`)
    }
  })
}

async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client(sessionConfig({ url, applicationName: 'holdfast-set-up' }))
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
