// A cable to a server that can be pulled, or go silent, and be plugged in again: what outages look like from a client.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type Cable = {
  /** host:port, to be used instead of the server's own. */
  address: string
  /** The same url, by way of the cable. */
  urlOf: (url: string) => string
  /** Every connection breaks, and new ones are closed at once. */
  pull: () => void
  /** Every connection stays open and carries nothing more, ever; new ones are carried. */
  silence: () => void
  /** As `silence`, and new ones are accepted without ever being carried: a server that hangs. */
  hang: () => void
  /** New connections are carried again. */
  plug: () => void
  /** Connections made since the beginning. */
  made: () => number
  close: () => Promise<void>
}

type Line = { isSilent: boolean; ends: readonly Socket[] }

export async function createCable(target: string): Promise<Cable> {
  const { hostname: host, port } = new URL(`tcp://${target}`)
  const lines = new Set<Line>()
  let state: 'plugged' | 'pulled' | 'hung' = 'plugged'
  let made = 0

  const server = createServer((near) => {
    made += 1
    if (state === 'pulled') return void near.destroy()
    const far = connect(Number(port), host)
    const line: Line = { isSilent: state === 'hung', ends: [near, far] }
    lines.add(line)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('error', () => undefined)
      from.on('data', (bytes) => {
        if (!line.isSilent) to.write(bytes)
      })
      from.on('close', () => {
        // Of a silent line the near end learns nothing.
        if (line.isSilent && from === far) return
        lines.delete(line)
        to.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: own } = server.address() as AddressInfo
  const silence = (): void => {
    for (const line of lines) line.isSilent = true
  }
  const destroyAll = (): void => {
    for (const { ends } of lines) for (const end of ends) end.destroy()
  }
  return {
    address: `127.0.0.1:${own}`,
    urlOf: (url) => {
      const through = new URL(url)
      through.hostname = '127.0.0.1'
      through.port = String(own)
      return through.href
    },
    pull: () => {
      state = 'pulled'
      destroyAll()
    },
    silence,
    hang: () => {
      state = 'hung'
      silence()
    },
    plug: () => void (state = 'plugged'),
    made: () => made,
    close: async () => {
      destroyAll()
      server.close()
      await once(server, 'close')
    },
  }
}
