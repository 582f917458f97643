// A TCP proxy for Postgres that can lose the answer to a commit: the server commits, and the client's connection
// breaks. It parses the wire protocol only as far as where an answer ends and what it says.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type AnswerProxy = {
  /** The same url through the proxy. */
  urlOf: (url: string) => string
  /** Loses the answer to the next commit: of a transaction, or of a single statement outside of one. */
  cutNextCommit: () => void
  /** Answers lost so far. */
  cuts: () => number
  close: () => Promise<void>
}

const TYPE_BYTES = 1
const LENGTH_BYTES = 4
const [COMMAND_COMPLETE, ERROR, READY] = ['C', 'E', 'Z'].map((letter) => letter.charCodeAt(0))
const IDLE = 'I'.charCodeAt(0)
/** Commands that end without anything to commit. */
const NOT_A_COMMIT = /^(BEGIN|ROLLBACK|SET|SHOW|DEALLOCATE|DISCARD)/

type Message = { type: number | undefined; body: Buffer }

/** Splits `bytes` into the server's complete messages at its front, and the rest. */
function splitMessages(bytes: Buffer): { messages: Message[]; rest: Buffer } {
  const messages: Message[] = []
  let at = 0
  while (bytes.length - at >= TYPE_BYTES + LENGTH_BYTES) {
    const end = at + TYPE_BYTES + bytes.readInt32BE(at + TYPE_BYTES)
    if (end > bytes.length) break
    messages.push({ type: bytes[at], body: bytes.subarray(at + TYPE_BYTES + LENGTH_BYTES, end) })
    at = end
  }
  return { messages, rest: bytes.subarray(at) }
}

/** Whether this answer reports a commit: no error, no open transaction, and a command that can commit. */
function isCommit(answer: readonly Message[]): boolean {
  const tags = answer.filter(({ type }) => type === COMMAND_COMPLETE).map(({ body }) => body.toString('latin1'))
  return (
    answer.at(-1)?.body[0] === IDLE &&
    answer.every(({ type }) => type !== ERROR) &&
    tags.some((tag) => !NOT_A_COMMIT.test(tag))
  )
}

export async function createAnswerProxy(target: { host: string; port: number }): Promise<AnswerProxy> {
  const sockets = new Set<Socket>()
  let isArmed = false
  let cuts = 0

  function join(near: Socket): void {
    const far = connect(target.port, target.host)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => (sockets.delete(one), other.destroy()))
    }
    near.pipe(far)

    /** Forwards one complete answer at a time, so that no part of a lost answer gets through. */
    let held: Buffer = Buffer.alloc(0)
    let answer: Message[] = []
    let unread: Buffer = Buffer.alloc(0)
    let isStarted = false
    far.on('data', (bytes) => {
      held = Buffer.concat([held, bytes])
      const { messages, rest } = splitMessages(Buffer.concat([unread, bytes]))
      unread = rest
      for (const message of messages) {
        answer.push(message)
        if (message.type !== READY) continue
        if (isStarted && isArmed && isCommit(answer)) {
          isArmed = false
          cuts += 1
          near.destroy()
          far.destroy()
          return
        }
        answer = []
        isStarted = true
      }
      // Before the first ReadyForQuery, client and server take turns. After it, an answer is forwarded once complete.
      if (!isStarted || answer.length === 0) {
        near.write(held)
        held = Buffer.alloc(0)
      }
    })
    far.on('end', () => near.end(held))
  }

  const server = createServer(join)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    urlOf: (url) => {
      const through = new URL(url)
      through.hostname = '127.0.0.1'
      through.port = String(port)
      return through.href
    },
    cutNextCommit: () => void (isArmed = true),
    cuts: () => cuts,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
