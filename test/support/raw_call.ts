// Raw gRPC calls: bytes and headers that a normal client cannot send, and answers with details it does not show.

import { Client, credentials, Metadata, status } from '@grpc/grpc-js'
import { readDetails, type Detail } from '../../src/grpc/detail.ts'

export type RawAnswer = {
  /** gRPC's name of the status code. */
  code: string
  message: string
  /** Undefined for a failure. */
  body: Buffer | undefined
  headers: Metadata
  detail: Detail
}

const same = (bytes: Buffer): Buffer => bytes

export type RawClient = {
  /** Makes one unary call with `body` unchanged. Headers may repeat. */
  call: (path: string, body: Buffer, headers?: readonly (readonly [string, string])[]) => Promise<RawAnswer>
  close: () => void
}

/** One connection, for many calls. */
export function createRawClient(address: string): RawClient {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 })
  return {
    call: (path, body, headers = []) => {
      const metadata = new Metadata()
      for (const [name, value] of headers) metadata.add(name, value)
      return new Promise((resolve) => {
        let received = new Metadata()
        const call = client.makeUnaryRequest(path, same, same, body, metadata, (error, answer) => {
          resolve({
            code: status[error?.code ?? status.OK],
            message: error?.details ?? '',
            body: answer,
            headers: received,
            detail: readDetails(error?.metadata ?? new Metadata()),
          })
        })
        call.on('metadata', (first: Metadata) => (received = first))
      })
    },
    close: () => client.close(),
  }
}

/** Makes one call on a connection of its own. */
export async function callRaw(
  address: string,
  path: string,
  body: Buffer,
  headers: readonly (readonly [string, string])[] = [],
): Promise<RawAnswer> {
  const client = createRawClient(address)
  try {
    return await client.call(path, body, headers)
  } finally {
    client.close()
  }
}
