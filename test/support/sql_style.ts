// How SQL is written: it parses as the pinned major version of Postgres reads it, functions in PL/pgSQL included, keywords
// are in lower case, lines hold 120 characters. A formatter was tried and refused: it leaves bodies between $$ as they are,
// and gives each column of a view a line of its own.

import { basename } from 'node:path'
import { parsePlPgSQLSync } from 'libpg-query'
import { isKeyword, statementsOf, tokensOf } from './sql.ts'

const MAX_COLUMNS = 120
/** These migrations had landed before there was a style. They are never edited: only their syntax is checked. */
const LANDED = { from: 23, to: 32 } as const

/** The parser knows no types of the schema, and takes an array of rows for a row. */
const UNKNOWN_TYPE = 'record variable cannot be part of multiple-item INTO list'
const BODY = /(\$\w*\$)([\s\S]*)\1/

/** Each with its line, as a reader of the terminal wants it. */
export function findSqlProblems(path: string, text: string): string[] {
  const number = /^(\d{4})\.do\./.exec(basename(path))?.[1]
  const hasLanded = number !== undefined && Number(number) >= LANDED.from && Number(number) <= LANDED.to
  const problems = hasLanded ? syntaxOf(text) : [...layoutOf(text), ...keywordsOf(text, 1), ...syntaxOf(text)]
  return problems.map((problem) => `${path}:${problem}`)
}

function layoutOf(text: string): string[] {
  const lines = text.split('\n')
  const rules: [RegExp, string][] = [
    [/\t/, 'a tab'],
    [/\s$/, 'space at the end of the line'],
    [new RegExp(`^.{${MAX_COLUMNS + 1},}`, 'u'), `more than ${MAX_COLUMNS} characters`],
  ]
  const found = lines.flatMap((line, at) =>
    rules.filter(([rule]) => rule.test(line)).map(([, problem]) => `${at + 1}: ${problem}`),
  )
  return text.endsWith('\n') && !text.endsWith('\n\n')
    ? found
    : [...found, `${lines.length}: one line break ends the file`]
}

/** @param line of the file, where the text begins */
function keywordsOf(text: string, line: number): string[] {
  const tokens = tokensOf(text)
  // Offsets are in bytes.
  const bytes = Buffer.from(text)
  const lineOf = (offset: number): number => line + bytes.subarray(0, offset).toString().split('\n').length - 1
  return (tokens ?? []).flatMap((token) => {
    const body = BODY.exec(token.text)?.[2]
    if (body !== undefined) return keywordsOf(body, lineOf(token.start))
    const isUpper = isKeyword(token) && token.text !== token.text.toLowerCase()
    return isUpper ? [`${lineOf(token.start)}: ${token.text} in capitals`] : []
  })
}

function syntaxOf(text: string): string[] {
  try {
    return statementsOf(text).flatMap((statement) => {
      const { tree } = statement
      const isProcedure =
        'DoStmt' in tree || ('CreateFunctionStmt' in tree && /\blanguage plpgsql\b/.test(statement.text))
      return isProcedure ? bodyProblemsOf(statement.text, text) : []
    })
  } catch (error) {
    return [`1: ${messageOf(error)}`]
  }
}

function bodyProblemsOf(statement: string, text: string): string[] {
  try {
    parsePlPgSQLSync(statement)
    return []
  } catch (error) {
    const message = messageOf(error)
    const line = text.slice(0, text.indexOf(statement)).split('\n').length
    return message.includes(UNKNOWN_TYPE) ? [] : [`${line}: ${message}`]
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
