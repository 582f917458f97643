// An OpenID Connect issuer (npm `oidc-provider`) for tests. `node issuer.mjs PORT ALGORITHM KID AUDIENCE`; PORT 0 takes
// a free one. It prints its URL when it listens. Its client watcher-1 gets access tokens by client credentials.

import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

const LIFETIME_S = 600
const [, , port, algorithm, kid, audience] = process.argv
const { privateKey } =
  algorithm === 'RS256' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ed25519')

const server = createServer()
server.listen(Number(port), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' }] },
    scopes: ['orders'],
    clients: [
      {
        client_id: 'watcher-1',
        client_secret: process.env['CLIENT_SECRET'],
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        id_token_signed_response_alg: algorithm,
        scope: 'orders',
      },
    ],
    enabledJWA: { idTokenSigningAlgValues: ['EdDSA', 'RS256'] },
    // The claim that Holdfast asks for beyond RFC 9068.
    extraTokenClaims: () => ({ roles: ['watcher'] }),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'https://orders.example',
        getResourceServerInfo: () => ({
          ...{ audience, scope: 'orders', accessTokenFormat: 'jwt', accessTokenTTL: LIFETIME_S },
          jwt: { sign: { alg: algorithm } },
        }),
      },
    },
  })
  server.on('request', provider.callback())
  process.stdout.write(`${issuer}\n`)
})
