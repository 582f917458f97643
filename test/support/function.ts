// The SQL functions, views and triggers of the house as their files have them (migrations/function/), and as the
// migrations have them: the last text of each. Both are compared without comments and layout: a better comment alone needs
// no migration.

import { basename } from 'node:path'
import type { Node } from 'libpg-query'
import { findSources, readSource } from './source.ts'
import { canonicalOf, lastNameOf, statementsOf, type Statement } from './sql.ts'

export type Made = {
  /** `function x`, `view x` or `trigger table.x` */
  object: string
  text: string
  canonical: string
}

export type FunctionFile = {
  path: string
  /** The function or view that the file is named after. */
  name: string
  text: string
  makes: readonly Made[]
}

const madeBy = (statements: readonly Statement[]): Made[] =>
  statements.flatMap(({ text, makes }) =>
    makes === undefined ? [] : [{ object: makes, text, canonical: canonicalOf(text) }],
  )

export const readFunctions = (): FunctionFile[] =>
  findSources('migrations/function/*.sql').map((path) => parseFunction(path, readSource(path)))

/** Throws with the path where the text is no SQL. */
export function parseFunction(path: string, text: string): FunctionFile {
  try {
    return { path, name: basename(path, '.sql'), text, makes: madeBy(statementsOf(text)) }
  } catch (error) {
    throw new Error(`${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

export type Migration = { path: string; text: string }

export const readMigrations = (): Migration[] =>
  findSources('migrations/[0-9]*.do.*.sql').map((path) => ({ path, text: readSource(path) }))

/** By object, what is left when all migrations have run. */
export function presentOf(migrations: readonly Migration[]): Map<string, Made> {
  const present = new Map<string, Made>()
  for (const { text } of migrations)
    for (const statement of statementsOf(text)) {
      for (const made of madeBy([statement])) present.set(made.object, made)
      for (const object of droppedBy(statement.tree)) present.delete(object)
      rename(present, statement.tree)
    }
  return present
}

const DROPPED = { OBJECT_FUNCTION: 'function', OBJECT_VIEW: 'view', OBJECT_TRIGGER: 'trigger' } as const

function droppedBy(tree: Node): string[] {
  if (!('DropStmt' in tree)) return []
  const kind = Object.entries(DROPPED).find(([type]) => type === tree.DropStmt.removeType)?.[1]
  if (kind === undefined) return []
  return (tree.DropStmt.objects ?? []).map((object) => {
    if ('ObjectWithArgs' in object) return `${kind} ${lastNameOf(object.ObjectWithArgs.objname)}`
    const names = 'List' in object ? (object.List.items ?? []) : []
    return `${kind} ${names.map((name) => lastNameOf([name])).join('.')}`
  })
}

function rename(present: Map<string, Made>, tree: Node): void {
  if (!('RenameStmt' in tree) || tree.RenameStmt.renameType !== 'OBJECT_FUNCTION') return
  const { object, newname = '' } = tree.RenameStmt
  const from = object !== undefined && 'ObjectWithArgs' in object ? lastNameOf(object.ObjectWithArgs.objname) : ''
  const made = present.get(`function ${from}`)
  if (made === undefined) return
  present.delete(`function ${from}`)
  const text = made.text.replace(from, newname)
  present.set(`function ${newname}`, { object: `function ${newname}`, text, canonical: canonicalOf(text) })
}

/** Those of which some object is not as the migrations leave it, each after those it names. */
export function changedOf(files: readonly FunctionFile[], present: ReadonlyMap<string, Made>): FunctionFile[] {
  const isChanged = ({ makes }: FunctionFile): boolean =>
    makes.some(({ object, canonical }) => present.get(object)?.canonical !== canonical)
  return inOrder(files.filter(isChanged))
}

/** A view or a function in SQL is checked when it is made: what it names must be there. */
function inOrder(files: readonly FunctionFile[]): FunctionFile[] {
  const ordered = new Set<FunctionFile>()
  const entered = new Set<FunctionFile>()
  const enter = (file: FunctionFile): void => {
    if (entered.has(file)) return
    entered.add(file)
    const words = new Set(file.makes.flatMap(({ canonical }) => canonical.replaceAll(/'[^']*'/g, '').split(/\W+/)))
    for (const other of files) if (words.has(other.name)) enter(other)
    ordered.add(file)
  }
  files.forEach(enter)
  return [...ordered]
}

/** What stands before the language: a change there is no replacement to Postgres. */
const signatureOf = ({ canonical }: Made): string => canonical.split(' language ')[0] ?? ''

/** Functions of which arguments or results are others than before. */
export const resignedOf = (files: readonly FunctionFile[], present: ReadonlyMap<string, Made>): string[] =>
  files.flatMap(({ name, makes }) => {
    const [now, before] = [makes.find(({ object }) => object === `function ${name}`), present.get(`function ${name}`)]
    return now !== undefined && before !== undefined && signatureOf(now) !== signatureOf(before) ? [name] : []
  })

/** What the comments on top of a file say, its contract. */
export function contractOf({ text }: FunctionFile): string {
  const lines = text.split('\n')
  const end = lines.findIndex((line) => !line.startsWith('--'))
  return lines
    .slice(0, end)
    .map((line) => line.replace(/^--\s*/, ''))
    .join(' ')
}

/** The file's text with the contract's first sentence as the object's comment in the database. */
export function migrationTextOf(file: FunctionFile): string {
  const [sentence = ''] = /^.*?\.(?=\s|$)/.exec(contractOf(file)) ?? []
  const kind = file.makes.some(({ object }) => object === `view ${file.name}`) ? 'view' : 'function'
  // Postgres puts together literals that a line break divides.
  const lines = wrap(sentence.replaceAll("'", "''"), LITERAL_COLUMNS).map(
    (line, at) => `  '${at === 0 ? '' : ' '}${line}'`,
  )
  return `${file.text.trim()}\ncomment on ${kind} ${file.name} is\n${lines.join('\n')};\n`
}

/** A line of SQL, less quotes and indent. */
const LITERAL_COLUMNS = 110

/** Lines of words, each of at most so many characters. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1) ?? ''} ${word}`.trimStart()
    if (lines.length === 0 || longer.length > columns) lines.push(word)
    else lines[lines.length - 1] = longer
  }
  return lines
}

/** Lines of code: without comments and blank ones. */
export const codeLinesOf = ({ text }: Made): number =>
  text.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('--')).length
