// Slonik's driver, built on src/db/connection/session.ts. The original has no answer timeout and no session settings.

import pg from 'pg'
import { BackendTerminatedError, createDriverFactory, type DriverCommand, type DriverFactory } from 'slonik'
import type { Sessions } from './session.ts'
import { isSessionSpent } from './sqlstate.ts'

export const createDriver = (config: pg.ClientConfig, sessions: Sessions): DriverFactory =>
  createDriverFactory(async () => ({
    createPoolClient: async ({ clientEventEmitter: events }) => {
      const client = new pg.Client(config)
      // Slonik removes its listener when it releases a session; an error without a listener would end the process.
      client.on('error', (error) => {
        if (events.listenerCount('error') > 0) events.emit('error', error)
      })
      events.on('acquire', () => sessions.setIdle(client, false))
      events.on('release', () => sessions.setIdle(client, true))
      events.on('destroy', () => sessions.setIdle(client, false))
      return {
        connect: async () => {
          await client.connect()
        },
        end: () => client.end(),
        query: async (text, values = []) => {
          try {
            const { command, fields, rowCount, rows } = await sessions.ask(client, { text, values }, true)
            return {
              command: command as DriverCommand,
              fields: fields.map(({ dataTypeID, name }) => ({ dataTypeId: dataTypeID, name })),
              rowCount,
              rows: rows as Record<string, unknown>[],
            }
          } catch (error) {
            // Tells slonik that there is nothing to roll back.
            throw isSessionSpent(error) ? new BackendTerminatedError(error as Error) : error
          }
        },
        stream: () => {
          throw new Error('streaming is not supported: read rows in pages')
        },
      }
    },
  }))
