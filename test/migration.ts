// `npm run migration NAME`: writes the next migration with the text of every file of migrations/function that differs from
// the last text in the migrations, so that a migration is complete in itself and a function still has one place.

import { writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  changedOf,
  contractOf,
  migrationTextOf,
  presentOf,
  readFunctions,
  readMigrations,
  resignedOf,
  wrap,
  type FunctionFile,
} from './support/function.ts'
import { ROOT } from './support/source.ts'
import { findSqlProblems } from './support/sql_style.ts'

const NAME = /^[a-z][a-z0-9_]*$/
const USAGE = `usage: npm run migration NAME
  NAME: words in lower case joined by _, such as stock_limit; the file becomes migrations/NNNN.do.NAME.sql`

function main([name = '', ...rest]: readonly string[]): number {
  if (!NAME.test(name) || rest.length > 0) {
    console.error(USAGE)
    return 2
  }
  const files = readFunctions()
  const migrations = readMigrations()
  const present = presentOf(migrations)
  const changed = changedOf(files, present)
  const problems = problemsOf(files, [...present.keys()])
  if (problems.length > 0) {
    for (const problem of problems) console.error(problem)
    return 1
  }
  if (changed.length === 0) {
    console.log('nothing to write: the migrations and migrations/function agree')
    return 0
  }
  const number = Math.max(0, ...migrations.map(({ path }) => Number(basename(path).split('.')[0]))) + 1
  const path = `migrations/${String(number).padStart(4, '0')}.do.${name}.sql`
  writeFileSync(join(ROOT, path), [headOf(changed), ...changed.map(migrationTextOf)].join('\n'))
  console.log(`${path} has ${changed.map((file) => file.name).join(', ')}`)
  for (const resigned of resignedOf(changed, present))
    console.log(
      `${resigned}: arguments or result changed. In ${path}, put «drop function ${resigned};» above its create; first ` +
        'drop the views that use it, and create them again',
    )
  console.log('Write on top why now, what it locks and how older processes continue. Then: npm run schema')
  console.log('After another change before it lands: delete the file and run this again')
  return 0
}

const HEAD_COLUMNS = 117

function headOf(changed: readonly FunctionFile[]): string {
  const names = changed.map(({ name }) => name).join(', ')
  const lines = wrap(`Functions as migrations/function has them: ${names}.`, HEAD_COLUMNS)
  return `${lines.map((line) => `-- ${line}`).join('\n')}\n`
}

/** What no migration can be written from, each with what to do. */
function problemsOf(files: readonly FunctionFile[], present: readonly string[]): string[] {
  const made = new Set(files.flatMap(({ makes }) => makes.map(({ object }) => object)))
  return [
    ...files.flatMap(({ path, text }) => findSqlProblems(path, text)),
    ...files
      .filter((file) => contractOf(file) === '')
      .map(({ path }) => `${path} has no contract: write above the function what it is, its locks and its errors`),
    ...files
      .filter(
        ({ name, text, makes }) =>
          makes.some(({ object }) => object === `function ${name}`) && !/\brevoke\b/.test(text),
      )
      .map(
        ({ path, name }) => `${path} keeps the default rights: add «revoke execute on function ${name} from public;»`,
      ),
    ...files
      .filter(({ name, makes }) => !makes.some(({ object }) => [`function ${name}`, `view ${name}`].includes(object)))
      .map(({ path, name }) => `${path} makes no function or view ${name}: name the file after what it makes`),
    ...present
      .filter((object) => !made.has(object))
      .map(
        (object) =>
          `${object} has no file. To remove it, write a migration with «drop ${object};»; else restore its file in ` +
          'migrations/function',
      ),
  ]
}

try {
  process.exitCode = main(process.argv.slice(2))
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)} (npm run lint:sql shows where)`)
  process.exitCode = 1
}
