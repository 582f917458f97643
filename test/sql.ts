// `npm run lint:sql`: what is wrong with the SQL of the migrations and of migrations/function.

import { findSources, readSource } from './support/source.ts'
import { findSqlProblems } from './support/sql_style.ts'

const paths = findSources('migrations/*.do.*.sql', 'migrations/role.sql', 'migrations/function/*.sql')
const problems = paths.flatMap((path) => findSqlProblems(path, readSource(path)))
for (const problem of problems) console.error(problem)
console.log(`${paths.length} files of SQL, ${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
