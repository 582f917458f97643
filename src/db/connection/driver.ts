// Slonik's driver on sessions of src/db/connection/session.ts. Its own gives a session neither a limit for answers nor settings.

import pg from 'pg'
import { BackendTerminatedError, createDriverFactory, type DriverCommand, type DriverFactory } from 'slonik'
import type { Sessions } from './session.ts'
import { isSessionSpent } from './sqlstate.ts'

export const createDriver = (config: pg.ClientConfig, sessions: Sessions): DriverFactory =>
  createDriverFactory(async () => ({
    createPoolClient: async ({ clientEventEmitter: events }) => {
      const client = new pg.Client(config)
      // Slonik stops listening when it has let go of a session; unheard, an error would end the process.
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
            const { command, fields, rowCount, rows } = await sessions.ask(client, { text, values })
            return {
              command: command as DriverCommand,
              fields: fields.map(({ dataTypeID, name }) => ({ dataTypeId: dataTypeID, name })),
              rowCount,
              rows: rows as Record<string, unknown>[],
            }
          } catch (error) {
            // By it slonik knows that there is nothing to roll back.
            throw isSessionSpent(error) ? new BackendTerminatedError(error as Error) : error
          }
        },
        stream: () => {
          throw new Error('rows are read in pages here, not streamed')
        },
      }
    },
  }))
