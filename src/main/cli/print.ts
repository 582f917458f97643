// Terminal output of the CLI: tables for people, JSON for programs. Control characters are removed from text that came
// over the network: a product's name must not control somebody's terminal.

import { ASSET_POLICY, ASSETS } from '../../domain/payment.ts'
import { formatUnits, parseUnits } from '../../domain/money.ts'

const GAP = '  '
/* oxlint-disable no-control-regex -- control characters are what is looked for */
/** Whole sequences of a terminal: CSI (colours, cursor), strings such as OSC (title, clipboard, links), single escapes. */
const SEQUENCE =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g
/** Control characters, and what changes the direction of text or hides in it. Joiners stay: languages need them. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]|(?![\u200c\u200d])\p{Cf}/gu
const CONTROL_EXCEPT_LINES = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]|(?![\u200c\u200d])\p{Cf}/gu
/* oxlint-enable no-control-regex */

/** Text for a terminal: without sequences and characters that would steer it. Line ends and tabs stay. */
export const printable = (text: string): string => text.replace(SEQUENCE, '').replace(CONTROL_EXCEPT_LINES, ' ')

/** JSON in which such characters are escaped: a program reads them, and no terminal obeys them. */
export const formatJson = (value: unknown, indent = 2): string =>
  JSON.stringify(value, null, indent).replaceAll(/[\u007f-\u009f\u2028\u2029]|\p{Cf}/gu, escapeUnits)

const escapeUnits = (character: string): string =>
  [...Array(character.length).keys()]
    .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`)
    .join('')

export type Cell = string | number | boolean | null
export type Row = Readonly<Record<string, Cell>>

const shown = (cell: Cell | undefined): string =>
  cell === null || cell === undefined ? '–' : String(cell).replace(SEQUENCE, '').replace(CONTROL, ' ')

/** Aligned columns with headings, in the order of the first row; numbers are right-aligned. */
export function formatTable(rows: readonly Row[]): string {
  const columns = Object.keys(rows[0] ?? {})
  if (columns.length === 0) return '(none)'
  const lines = [columns, ...rows.map((row) => columns.map((column) => shown(row[column])))]
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => (line[index] ?? '').length)))
  const isNumeric = columns.map((column) => rows.every((row) => typeof row[column] === 'number'))
  return lines
    .map((line) =>
      line
        .map((cell, index) =>
          isNumeric[index] === true ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0),
        )
        .join(GAP)
        .trimEnd(),
    )
    .join('\n')
}

/** One object, one line per field. */
export function formatFields(fields: Row): string {
  const width = Math.max(...Object.keys(fields).map((name) => name.length))
  return Object.entries(fields)
    .map(([name, value]) => `${name.padEnd(width)}${GAP}${shown(value)}`)
    .join('\n')
}

/** Base units as a readable amount: `0.025 ETH`. */
export function formatCoins(asset: string, units: string): string {
  const known = ASSETS.find((name) => name === asset)
  const amount = parseUnits(units)
  if (known === undefined || amount === undefined) return `${units} of ${asset}`
  return `${formatUnits(amount, ASSET_POLICY[known].decimals)} ${known}`
}

export type Output = { json: boolean; write: (text: string) => void }

/**
 * Prints one answer.
 * @param human builds the text for people; called only if needed
 */
export function print(output: Output, value: unknown, human: () => string): void {
  output.write(`${output.json ? formatJson(value) : human()}\n`)
}
