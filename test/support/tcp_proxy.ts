// A TCP proxy that simulates outages between a client and a server: it can cut connections, go silent, hang and recover.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type TcpProxy = {
  /** host:port; clients use it instead of the server's address. */
  address: string
  /** The same url through the proxy. */
  urlOf: (url: string) => string
  /** Breaks every connection, and closes new ones at once. */
  cut: () => void
  /** Keeps every connection open, but forwards nothing on it any more. New connections are forwarded. */
  silence: () => void
  /** As `silence`, and accepts new connections without forwarding them: a server that hangs. */
  hang: () => void
  /** Forwards new connections again. */
  restore: () => void
  /** Connections accepted so far. */
  connectionCount: () => number
  close: () => Promise<void>
}

type Connection = { isSilent: boolean; ends: readonly Socket[] }

export async function createTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname: host, port } = new URL(`tcp://${target}`)
  const connections = new Set<Connection>()
  let state: 'connected' | 'cut' | 'hung' = 'connected'
  let accepted = 0

  const server = createServer((near) => {
    accepted += 1
    if (state === 'cut') return void near.destroy()
    const far = connect(Number(port), host)
    const connection: Connection = { isSilent: state === 'hung', ends: [near, far] }
    connections.add(connection)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('error', () => undefined)
      from.on('data', (bytes) => {
        if (!connection.isSilent) to.write(bytes)
      })
      from.on('close', () => {
        // A silent connection hides from the client that the server has closed.
        if (connection.isSilent && from === far) return
        connections.delete(connection)
        to.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: proxyPort } = server.address() as AddressInfo
  const silence = (): void => {
    for (const connection of connections) connection.isSilent = true
  }
  const destroyAll = (): void => {
    for (const { ends } of connections) for (const end of ends) end.destroy()
  }
  return {
    address: `127.0.0.1:${proxyPort}`,
    urlOf: (url) => {
      const through = new URL(url)
      through.hostname = '127.0.0.1'
      through.port = String(proxyPort)
      return through.href
    },
    cut: () => {
      state = 'cut'
      destroyAll()
    },
    silence,
    hang: () => {
      state = 'hung'
      silence()
    },
    restore: () => void (state = 'connected'),
    connectionCount: () => accepted,
    close: async () => {
      destroyAll()
      server.close()
      await once(server, 'close')
    },
  }
}
