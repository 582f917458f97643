// The nodes of a chain, as the configuration lists them: URLs of JSON-RPC, separated by commas.

/** Each one is asked at each new block. */
export const MAX_NODES = 8
export const NODE_URLS_RULE = `must be 1 to ${MAX_NODES} different http(s) URLs, separated by commas; a comma, and a % that escapes nothing, are percent-encoded`

export type NodeUrls = readonly [string, ...string[]]

/** Undefined: not such a list. A node that is listed twice is refused, because it would only confirm itself. */
export function parseNodeUrls(list: string): NodeUrls | undefined {
  const [first, ...others] = list.split(',').map((text) => text.trim())
  if (first === undefined) return undefined
  const urls: NodeUrls = [first, ...others]
  if (urls.length > MAX_NODES || !urls.every(isNodeUrl)) return undefined
  return new Set(urls.map((text) => new URL(text).href)).size === urls.length ? urls : undefined
}

function isNodeUrl(text: string): boolean {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return false
  const { username, password } = new URL(text)
  try {
    decodeURIComponent(`${username}:${password}`)
    return true
  } catch {
    return false
  }
}
