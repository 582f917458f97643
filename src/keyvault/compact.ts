// Strict reader of the compact serialisation of a token (RFC 7515). A token has one spelling and one meaning: readers
// before and behind this server must not be able to understand it differently.

/** Rejects what JSON.parse and base64 decoders accept silently; a malformed sequence would be replaced by U+FFFD. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** A member name is a string that is followed by a colon, in text that is valid JSON. */
const STRING = /"(?:[^"\\]|\\.)*"(\s*:)?/g
const EXTENSIONS = ['crit', 'b64']

/**
 * Throws if a part is not canonical base64url without padding, if header or claims are not a JSON object in UTF-8 whose
 * members all have different names, at every depth, or if the header asks for an extension.
 */
export function assertStrict(token: string): void {
  const parts = token.split('.')
  if (parts.length !== 3) throw new Error('parts')
  const [header = {}] = parts.map(decodeCanonical).slice(0, 2).map(parseObject)
  // No extension is supported. One reader ignores `b64` without `crit` (RFC 7797), another does not.
  if (EXTENSIONS.some((name) => Object.hasOwn(header, name))) throw new Error('extension')
}

function decodeCanonical(part: string): Buffer {
  const bytes = Buffer.from(part, 'base64url')
  if (part === '' || bytes.toString('base64url') !== part) throw new Error('base64url')
  return bytes
}

function parseObject(bytes: Buffer): object {
  const text = UTF8.decode(bytes)
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not an object')
  const written = [...text.matchAll(STRING)].filter(([, colon]) => colon !== undefined).length
  if (countMembers(value) !== written) throw new Error('a member is repeated')
  return value
}

/** Members that JSON.parse kept: of several with one name, it keeps the last. */
function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const own = Array.isArray(value) ? 0 : Object.keys(value).length
  return Object.values(value).reduce((sum: number, each: unknown) => sum + countMembers(each), own)
}
