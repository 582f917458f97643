// HTML of the payment page. Every value is escaped by the template's tag. The status and the details are parts of their
// own, since a browser with JavaScript replaces them while the page stays.

import { createHash } from 'node:crypto'
import { html, raw as ownHtml } from 'hono/html'
import { encodeQR } from 'qr'
import { formatFiat, formatUnits } from '../domain/money.ts'
import { ASSET_POLICY, type Asset } from '../domain/payment.ts'
import { paymentUriOf } from '../domain/payment_uri.ts'
import { formatAddress } from '../keyvault/address.ts'
import { createSay, LANGUAGES, type Language, type Say } from './pay_language.ts'
import { isFinished, type PayStage, type PayView } from './pay_view.ts'

type Html = ReturnType<typeof html>

/** How often the page reloads itself without JavaScript. */
const RELOAD_EVERY_S = 15
const MARK_LENGTH = 16
const BASE_UNITS: Readonly<Record<Asset, string>> = { BTC: 'satoshi', LTC: 'litoshi', ETH: 'wei', SOL: 'lamport' }
const TONES: Readonly<Partial<Record<PayStage, 'good' | 'warn'>>> = {
  paid: 'good',
  refunded: 'good',
  replaced: 'good',
  partial: 'warn',
  at_risk: 'warn',
  reversed: 'warn',
  ended: 'warn',
  expired: 'warn',
  late_confirming: 'warn',
  too_little: 'warn',
  too_late: 'warn',
  cancelled_paid: 'warn',
}

export type PageAssets = { css: string; js: string }

export type PageParts = {
  stage: PayStage
  heading: string
  title: string
  tone: string
  status: string
  details: string
  /** Hashes of both: what has not changed is not replaced. */
  marks: { status: string; details: string }
  isFinished: boolean
}

type PageOptions = {
  language: Language
  /** Of the chain that ETH is paid on. */
  chainId: number
  /** Where a customer signs in to give a refund address. */
  refundUrlOf?: ((orderId: string) => string) | undefined
  /** The path of an order's page. */
  pathOf: (order: { orderId: string; createdAt: Date }) => string
}

/** The parts of a page that change. */
export async function renderParts(view: PayView, options: PageOptions): Promise<PageParts> {
  const say = createSay(options.language)
  const values = valuesOf(view)
  const heading = view.asks === undefined ? say('heading.done') : say('heading.pay', { amount: coins(view, view.asks) })
  const status = String(await statusHtml(view, say, values))
  const details = String(await detailsHtml(view, say, options))
  return {
    stage: view.stage,
    heading,
    title: `${say(`stage.${view.stage}.title`, values)} – ${say('title')}`,
    tone: TONES[view.stage] ?? 'open',
    status,
    details,
    marks: { status: markOf(status), details: markOf(details) },
    isFinished: isFinished(view),
  }
}

const markOf = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, MARK_LENGTH)

const coins = ({ asset }: PayView, units: bigint): string =>
  `${formatUnits(units, ASSET_POLICY[asset].decimals)} ${asset}`

const valuesOf = (view: PayView): Record<string, string> => ({
  missing: coins(view, view.due > view.seen ? view.due - view.seen : 0n),
  seen: coins(view, view.seen),
  confirmations: String(view.confirmations),
  needed: String(view.needed),
})

function statusHtml(view: PayView, say: Say, values: Record<string, string>): Html {
  const { stage, confirmations, needed } = view
  return html`<h2>${say(`stage.${stage}.title`, values)}</h2>
    <p>${say(`stage.${stage}.text`, values)}</p>
    ${
      stage === 'confirming'
        ? html`<progress
            value="${confirmations}"
            max="${needed}"
            aria-label="${say('label.confirmations')}"
          ></progress>`
        : ''
    }`
}

function detailsHtml(view: PayView, say: Say, options: PageOptions): Html {
  return html`${view.replacedBy === null ? '' : nextHtml(view.replacedBy, say, options)}
  ${view.flags.includes('wrong_asset') ? html`<p class="card">${say('wrong.text', { asset: view.asset, network: view.network })}</p>` : ''}
  ${view.refunds.length > 0 ? refundHtml(view, say, options) : ''}
  ${view.asks === undefined ? receivedHtml(view, say) : requestHtml(view, view.asks, say, options)}`
}

function nextHtml(order: NonNullable<PayView['replacedBy']>, say: Say, { pathOf, language }: PageOptions): Html {
  const url = `${pathOf(order)}?lang=${language}`
  return html`<section class="card">
    <p><a class="button" id="next" href="${url}">${say('next.link')}</a></p>
  </section>`
}

/** A destination is taken from a signed-in customer only: a reader of this link must not direct money. */
function refundHtml(view: PayView, say: Say, { refundUrlOf }: PageOptions): Html {
  const lines = view.refunds.flatMap(({ status, amount }) =>
    status === 'rejected' || status === 'cancelled' ? [] : [say(`refund.${status}`, { amount: coins(view, amount) })],
  )
  const isAddressAwaited = view.refunds.some(({ status }) => status === 'awaiting_destination' || status === 'offered')
  const url = refundUrlOf?.(view.orderId)
  return html`<section class="card" id="refund">
    ${lines.map((line) => html`<p>${line}</p>`)} ${isAddressAwaited ? html`<p>${say('refund.how')}</p>` : ''}
    ${isAddressAwaited && url !== undefined ? html`<p><a class="button" href="${url}">${say('refund.link')}</a></p>` : ''}
  </section>`
}

function receivedHtml(view: PayView, say: Say): Html {
  return html`<section class="card">
    <dl>
      <dt>${say('label.order')}</dt>
      <dd>${formatFiat(view.totalMinor)} ${view.currency}</dd>
      <dt>${say('label.amount')}</dt>
      <dd>${coins(view, view.due)}</dd>
      <dt>${say('label.received')}</dt>
      <dd>${coins(view, view.seen)}</dd>
    </dl>
  </section>`
}

function requestHtml(view: PayView, units: bigint, say: Say, { language, chainId }: PageOptions): Html {
  const { asset, network, expiresAt, seen } = view
  const address = formatAddress(asset, view.address)
  const uri = paymentUriOf({ asset, address, units, chainId })
  const decimal = formatUnits(units, ASSET_POLICY[asset].decimals)
  return html`<section class="card">
    <dl class="times">
      <div>
        <dt>${say('label.left')}</dt>
        <dd><span role="timer" data-ends="${expiresAt.getTime()}">${TIME_LEFT}</span></dd>
      </div>
      <div>
        <dt>${say('label.until')}</dt>
        <dd><time datetime="${expiresAt.toISOString()}">${timeText(expiresAt, language)}</time></dd>
      </div>
    </dl>
    <div class="qr" role="img" aria-label="${say('qr.label')}">${ownHtml(encodeQR(uri, 'svg', { ecc: 'medium' }))}</div>
    <p class="quiet">${say('qr.hint')}</p>
    <p><a class="button" id="open" href="${uri}">${say('wallet.open')}</a></p>
    <dl>
      <dt>${say(seen > 0n ? 'label.missing' : 'label.amount')}</dt>
      <dd class="copy">
        <span><code>${decimal}</code> ${asset}</span>${copyButton('amount', decimal, say)}
      </dd>
      <dt>${say('label.exact')}</dt>
      <dd class="copy">
        <span><code>${units.toString()}</code> ${BASE_UNITS[asset]}</span>${copyButton('exact', units.toString(), say)}
      </dd>
      <dt>${say('label.address')}</dt>
      <dd class="copy"><code>${address}</code>${copyButton('address', address, say)}</dd>
      <dt>${say('label.network')}</dt>
      <dd>${network}</dd>
      <dt>${say('label.order')}</dt>
      <dd>${formatFiat(view.totalMinor)} ${view.currency}</dd>
    </dl>
    <p class="quiet">${say('warn.asset', { asset, network })}</p>
  </section>`
}

/** Shown by the script: without it, text is selected and copied. */
const copyButton = (what: 'amount' | 'exact' | 'address', text: string, say: Say): Html =>
  html`<button type="button" id="copy-${what}" data-copy="${text}" hidden>${say(`copy.${what}`)}</button>`

const timeText = (time: Date, language: Language): string =>
  `${new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' }).format(time)} UTC`

const MINUTE_MS = 60_000
/** Where a page has its time left. A stream leaves it to the script, which counts seconds: only news is sent. */
const TIME_LEFT = '…'

const withMinutes = (details: string, { expiresAt, now }: PayView): string =>
  details.replace(TIME_LEFT, `${Math.max(0, Math.ceil((expiresAt.getTime() - now.getTime()) / MINUTE_MS))} min`)

type Frame = { language: Language; assets: PageAssets; title: string; isLive: boolean; isReloading: boolean }

function frameHtml({ language, assets, title, isLive, isReloading }: Frame, main: Html): Html {
  return html`<!doctype html>
    <html lang="${language}">
      <head>
        <meta charset="utf-8" />
        <title>${title}</title>
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="robots" content="noindex, nofollow" />
        <link rel="stylesheet" href="/pay/static/${assets.css}" />
        ${isLive ? html`<script type="module" src="/pay/static/${assets.js}"></script>` : ''}
        ${isReloading ? html`<noscript><meta http-equiv="refresh" content="${RELOAD_EVERY_S}" /></noscript>` : ''}
      </head>
      <body>
        ${main}
        <footer>
          <nav
            aria-label="${Object.values(LANGUAGES)
              .map((each) => each.language)
              .join(', ')}"
          >
            <ul>
              ${Object.entries(LANGUAGES).map(
                ([code, messages]) =>
                  html`<li><a href="?lang=${code}" lang="${code}" hreflang="${code}">${messages.language}</a></li>`,
              )}
            </ul>
          </nav>
        </footer>
      </body>
    </html>`
}

/** @param path of the page, below which its stream is */
export async function renderPage(
  view: PayView,
  options: PageOptions & { assets: PageAssets; path: string },
): Promise<string> {
  const { language, path } = options
  const say = createSay(language)
  const parts = await renderParts(view, options)
  const main = html`<main
    data-stream="${path}/events?lang=${language}"
    data-now="${view.now.getTime()}"
    data-copied="${say('copy.done')}"
    data-failed="${say('copy.failed')}"
    data-lost="${say('live.lost')}"
  >
    <h1>${parts.heading}</h1>
    <section
      class="card"
      id="status"
      role="status"
      data-stage="${view.stage}"
      data-mark="${parts.marks.status}"
      data-tone="${parts.tone}"
    >
      ${ownHtml(parts.status)}
    </section>
    <div id="details" data-mark="${parts.marks.details}">${ownHtml(withMinutes(parts.details, view))}</div>
    <p id="note" class="quiet" role="status"></p>
    ${
      parts.isFinished
        ? ''
        : html`<noscript><p class="quiet">${say('live.none', { seconds: String(RELOAD_EVERY_S) })}</p></noscript>`
    }
  </main>`
  return String(await frameHtml({ ...options, title: parts.title, isLive: true, isReloading: !parts.isFinished }, main))
}

export type PayError = 'missing' | 'busy' | 'failed'

export async function renderError(
  error: PayError,
  { language, assets }: { language: Language; assets: PageAssets },
): Promise<string> {
  const say = createSay(language)
  const title = say(`error.${error}.title`)
  const main = html`<main>
    <h1>${title}</h1>
    <p>${say(`error.${error}.text`)}</p>
  </main>`
  return String(await frameHtml({ language, assets, title, isLive: false, isReloading: error !== 'missing' }, main))
}
