// The payment page in a browser with JavaScript: copy buttons, the countdown, and the live state by server-sent events.
// Without this file the page is complete and reloads itself.

const TICK_MS = 1_000
/** After a stream was refused; a stream that ends is opened again by the browser itself. */
const REOPEN_MS = 10_000

const main = document.querySelector('main')
const [heading] = main.getElementsByTagName('h1')
const statusBox = document.getElementById('status')
const details = document.getElementById('details')
const note = document.getElementById('note')
/** The server's clock counts. */
const aheadMs = Number(main.dataset.now) - Date.now()
let stream
let reopening
let isOver = false

/** Two units are exact enough to read: `1 h 5 min`, `14 min 3 s`. */
function formatSpan(ms) {
  const s = Math.max(0, Math.round(ms / 1_000))
  const [hours, minutes, seconds] = [Math.floor(s / 3_600), Math.floor(s / 60) % 60, s % 60]
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds} s`
}

function tick() {
  const left = details.querySelector('[data-ends]')
  if (left !== null) left.textContent = formatSpan(Number(left.dataset.ends) - Date.now() - aheadMs)
}

/** What works with JavaScript only: the buttons, the local time, the seconds. */
function decorate() {
  for (const button of details.querySelectorAll('button[data-copy]')) button.hidden = false
  const until = details.querySelector('time')
  if (until !== null) {
    const format = { dateStyle: 'medium', timeStyle: 'short' }
    until.textContent = new Date(until.dateTime).toLocaleString(document.documentElement.lang, format)
  }
  tick()
}

/** What has not changed stays, with the reader's place in it. */
function replace(box, html, mark) {
  if (box.dataset.mark === mark) return
  box.dataset.mark = mark
  const draft = document.createElement('template')
  draft.innerHTML = html
  const focused = box.contains(document.activeElement) ? document.activeElement.id : ''
  box.replaceChildren(draft.content)
  decorate()
  if (focused !== '') document.getElementById(focused)?.focus()
}

function show(parts) {
  document.title = parts.title
  heading.textContent = parts.heading
  statusBox.dataset.tone = parts.tone
  replace(statusBox, parts.status, parts.marks.status)
  replace(details, parts.details, parts.marks.details)
  statusBox.dataset.stage = parts.stage
  if (!parts.isFinished) return
  isOver = true
  stream.close()
}

function open() {
  clearTimeout(reopening)
  if (isOver || document.hidden) return
  const mine = new EventSource(main.dataset.stream)
  stream = mine
  mine.addEventListener('open', () => {
    if (note.textContent === main.dataset.lost) note.textContent = ''
  })
  mine.addEventListener('state', ({ data }) => show(JSON.parse(data)))
  mine.addEventListener('error', () => {
    if (mine.readyState !== EventSource.CLOSED) return
    note.textContent = main.dataset.lost
    reopening = setTimeout(open, REOPEN_MS)
  })
}

async function copy({ target }) {
  const button = target.closest('button[data-copy]')
  if (button === null) return
  // Emptied first, so that the same words are announced again.
  note.textContent = ''
  try {
    // Absent where the page was not loaded by https.
    await navigator.clipboard.writeText(button.dataset.copy)
    note.textContent = main.dataset.copied
  } catch {
    note.textContent = main.dataset.failed
  }
}

details.addEventListener('click', (event) => void copy(event))
// A page in the background needs no stream.
document.addEventListener('visibilitychange', () => {
  stream?.close()
  open()
})
decorate()
setInterval(tick, TICK_MS)
open()
