// Errors as pg, the system and slonik make them, without a server.

import pg from 'pg'

/** As pg makes them of an answer of the server. */
export function sqlError(code: string): pg.DatabaseError {
  const error = new pg.DatabaseError(`state ${code}`, 0, 'error')
  error.code = code
  return error
}

export const systemError = (code: string): Error => Object.assign(new Error(`connect ${code} 127.0.0.1:5432`), { code })

/** As slonik hands them on. */
export const within = (cause: Error): Error => new Error('Query failed.', { cause })
