// Keyset pages: reads and writes cursors, and cuts a page at its limit of rows or of bytes, whichever comes first.

import { actorOf } from '../domain/access.ts'
import type { CursorSeal } from '../keyvault/cursor.ts'
import type { Call } from './call.ts'
import { fieldInvalid } from './validate.ts'

/**
 * A page of this size is read in one go. An answer may have four times as many (handle.ts): that is room for one row that
 * is larger than a page, such as the audit entry of a step over hundreds of transfers.
 */
export const MAX_PAGE_BYTES = 1_048_576
/** Tag and length of a repeated message of less than 256 MiB. */
const ROW_OVERHEAD_BYTES = 5

/** Pattern of ids that are numbers in the database. */
export const NUMBER_PATTERN = /^\d{1,18}$/

/** What a cursor is bound to: the caller, the method and the filter. */
export type Listing = {
  cursors: CursorSeal
  call: Pick<Call, 'principal'> & { record: Pick<Call['record'], 'path'> }
  filter?: unknown
  /** The pattern of the row ids in this list. */
  idPattern: RegExp
}

type PageRequest = { limit: number; offset?: number; cursor: string }

/**
 * The query for a page. It asks for one row more than the page has, so that an extra row shows that a next page exists.
 * @throws {DomainError} FIELD_INVALID for a cursor that this server did not make for this caller, method and filter
 */
export function pageOf(listing: Listing, { limit, offset = 0, cursor }: PageRequest) {
  return { limit: limit + 1, offset, after: cursor === '' ? undefined : readCursor(listing, cursor) }
}

type Cut<Row, Place> = {
  limit: number
  idOf: (row: Row | Place) => string
  /** Most bytes of a row's message. Absent for small rows, of which a full page always fits: page.test.ts. */
  bytesOf?: (row: Row) => number
  /** Where a query ended that reads a bounded part of a list: after all of its rows, and the list goes on. */
  reached?: Place | null
}

/**
 * The rows that fit into one answer, at least one, and the cursor of the next page if there is one. The largest possible
 * row fits alone: page.int.test.ts holds that.
 */
export function cutPage<Row, Place = Row>(
  listing: Listing,
  rows: readonly Row[],
  { limit, idOf, bytesOf = () => 0, reached = null }: Cut<Row, Place>,
) {
  const page = rows.slice(0, Math.min(limit, countFitting(rows, bytesOf)))
  const next = rows.length > page.length ? page.at(-1) : reached
  const nextCursor =
    next === null || next === undefined ? '' : listing.cursors.sealPlace(idOf(next), contextOfListing(listing))
  return { page, nextCursor }
}

type Encodable<Message> = { encode: (message: Message) => { finish: () => Uint8Array } }

/** Bytes of the message that a row becomes. */
export const messageBytes =
  <Row, Message>(type: Encodable<Message>, messageOf: (row: Row) => Message) =>
  (row: Row): number =>
    type.encode(messageOf(row)).finish().length

/** How many rows fit into an answer, at least one. */
function countFitting<Row>(rows: readonly Row[], bytesOf: (row: Row) => number): number {
  let bytes = 0
  const over = rows.findIndex((row) => (bytes += bytesOf(row) + ROW_OVERHEAD_BYTES) > MAX_PAGE_BYTES)
  return over === -1 ? rows.length : Math.max(1, over)
}

function readCursor(listing: Listing, cursor: string): string {
  const place = listing.cursors.openPlace(cursor, contextOfListing(listing))
  // The pattern is the second lock: what goes into a query has the shape of an id in any case.
  if (place === undefined || !listing.idPattern.test(place))
    throw fieldInvalid([{ field: 'cursor', description: 'must be the next_cursor of a page with the same filters' }])
  return place
}

const contextOfListing = ({ call, filter }: Listing): string[] => [
  actorOf(call.principal),
  call.record.path,
  JSON.stringify(filter ?? null, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)),
]
