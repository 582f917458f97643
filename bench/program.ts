/** The path of a program that tools/setup.mjs installed. @throws {Error} outside of `npm run bench` */
export function programAt(variable: string): string {
  const path = process.env[variable]
  if (path === undefined) throw new Error(`${variable} is not set: use \`npm run bench\``)
  return path
}
