// A headless Chromium for tests of pages. Each page has a context of its own, and notes what a strict page must not
// cause: requests to other hosts, violations of its content security policy, errors of its scripts.

import chromium from '@sparticuz/chromium'
import { launch, type Browser, type Page } from 'puppeteer-core'

export type TestBrowser = {
  /** Opens an address. `problems` grows while the page is open. */
  open: (url: string, options?: PageOptions) => Promise<{ page: Page; problems: string[] }>
  close: () => Promise<void>
}

type PageOptions = {
  hasJavaScript?: boolean
  isDark?: boolean
  width?: number
  height?: number
  language?: string
}

const NAVIGATION_WITHIN_MS = 60_000

export async function openBrowser(): Promise<TestBrowser> {
  const browser: Browser = await launch({
    // In one process, it would end with its first context.
    args: chromium.args.filter((each) => each !== '--single-process'),
    executablePath: await chromium.executablePath(),
    headless: 'shell',
    protocolTimeout: 120_000,
  })
  return {
    open: async (url, { hasJavaScript = true, isDark = false, width = 480, height = 400, language = 'en' } = {}) => {
      const context = await browser.createBrowserContext()
      const clipboard = ['clipboard-read', 'clipboard-write'].map((name) => ({
        permission: { name },
        state: 'granted' as const,
      }))
      await context.setPermission(new URL(url).origin, ...clipboard)
      const page = await context.newPage()
      page.setDefaultTimeout(NAVIGATION_WITHIN_MS)
      const problems: string[] = []
      page.on('request', (request) => {
        const target = request.url()
        if (!target.startsWith('data:') && new URL(target).origin !== new URL(url).origin) problems.push(target)
      })
      page.on('pageerror', (error) => problems.push(String(error)))
      page.on('console', (message) => {
        if (/Content.Security.Policy|violates/i.test(message.text())) problems.push(message.text())
      })
      await page.setJavaScriptEnabled(hasJavaScript)
      await page.setViewport({ width, height })
      await page.setExtraHTTPHeaders({ 'accept-language': language })
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: isDark ? 'dark' : 'light' }])
      await page.goto(url, { waitUntil: 'domcontentloaded' })
      // A page in the background has no stream and no clipboard.
      await page.bringToFront()
      return { page, problems }
    },
    close: () => browser.close(),
  }
}
