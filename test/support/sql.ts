// SQL as text: its statements, what they make, and its tokens without comments and layout. Read by the parser of Postgres
// itself, so that nothing here guesses at quotes or comments.

import { loadModule, parseSync, scanSync, type Node, type ScanToken } from 'libpg-query'

await loadModule()

export type Statement = {
  text: string
  /** The parser's tree: one key, the kind of the statement. */
  tree: Node
  /** `function x`, `view x` or `trigger table.x`; undefined: it makes nothing that has a file. */
  makes: string | undefined
}

/** Throws the parser's error where the text is no SQL. */
export function statementsOf(text: string): Statement[] {
  // The parser counts bytes.
  const bytes = Buffer.from(text)
  return (parseSync(text).stmts ?? []).map(({ stmt, stmt_location: from = 0, stmt_len: length }) => {
    const to = length === undefined || length === 0 ? bytes.length : from + length
    const tree = stmt as Node
    return { text: bytes.subarray(from, to).toString().trim(), tree, makes: objectOf(tree) }
  })
}

/** The last part of a name that may be qualified. */
export const lastNameOf = (names: readonly Node[] | undefined): string => {
  const last = names?.at(-1)
  return last !== undefined && 'String' in last ? (last.String.sval ?? '') : ''
}

function objectOf(tree: Node): string | undefined {
  if ('CreateFunctionStmt' in tree) return `function ${lastNameOf(tree.CreateFunctionStmt.funcname)}`
  if ('ViewStmt' in tree) return `view ${tree.ViewStmt.view?.relname ?? ''}`
  if ('CreateTrigStmt' in tree)
    return `trigger ${tree.CreateTrigStmt.relation?.relname ?? ''}.${tree.CreateTrigStmt.trigname ?? ''}`
  return undefined
}

const isComment = ({ tokenName }: ScanToken): boolean => tokenName === 'SQL_COMMENT' || tokenName === 'C_COMMENT'
export const isKeyword = ({ keywordKind }: ScanToken): boolean => keywordKind > 0
const DOLLAR_QUOTED = /^(\$\w*\$)([\s\S]*)\1$/

/** Tokens but for comments; a body between $$ is tokens of its own. Undefined: not SQL by its tokens, such as a template. */
export function tokensOf(text: string): ScanToken[] | undefined {
  try {
    return scanSync(text).tokens.filter((token) => !isComment(token))
  } catch {
    return undefined
  }
}

/** One text for all that mean the same to Postgres but for comments, layout and «or replace». */
export function canonicalOf(text: string): string {
  const words = tokensOf(text)?.map((token) => {
    const body = DOLLAR_QUOTED.exec(token.text)?.[2]
    if (body !== undefined) return `$$ ${canonicalOf(body)} $$`
    return isKeyword(token) ? token.text.toLowerCase() : token.text
  })
  return (words?.join(' ') ?? text.replaceAll(/\s+/g, ' ').trim()).replace(/^create or replace /, 'create ')
}
