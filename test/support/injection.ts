// Injection strings: what attackers put into fields in the hope that some layer takes a part of it for code, markup, a
// path, a format or a control sequence. Each has at most 200 code points, so that its length alone refuses none.

import { readFileSync } from 'node:fs'

/** SQL, shells, paths, lookups, templates, formats, markup, protocols, terminals, prototypes and Unicode. */
const ALONE = JSON.parse(readFileSync(new URL('injection.json', import.meta.url), 'utf8')) as readonly string[]

const CORES: readonly string[] = [
  ...[
    "' or 1=1 --",
    "'; drop table orders; --",
    '${jndi:ldap://x.invalid/a}',
    '<script>alert(1)</script>',
    '%s%n',
    '$(id)',
  ],
  ...['{{7*7}}', '../../etc/passwd', '__proto__', '\u001b[31m', '\r\nSet-Cookie: a=b', '\u202e', '\u0000'],
]
/** Each core is put where the bar is. */
const AROUND: readonly string[] = [
  ...['tea |', '| tea', '"|"', "'|'", '`|`', '(|)', '[|]', '{|}', '/*|*/', '\\|\\', '\n|\n', '\u00a0|\u00a0'],
  ...['x=|&y=1', '{"a":"|"}', '<b>|</b>', '//|', '0|0', 'é|é'],
]

/** At least 500 different ones. */
export const INJECTIONS: readonly string[] = [
  ...new Set([...ALONE, ...CORES.flatMap((core) => AROUND.map((around) => around.split('|').join(core)))]),
]
