const every = selector => [...document.querySelectorAll(selector)]

// A formula inside a line that is wider than the line scrolls in its own box.
function fitFormulas() {
  for (const formula of every('mjx-container:not([display])')) {
    formula.classList.remove('wide', 'more')
    const line = formula.closest('p, li, td, dd, figcaption, div')
    formula.classList.toggle('wide', formula.firstChild.offsetWidth > line.clientWidth)
  }
}

// On a phone a figure of one panel is shown whole; panels side by side keep a legible size and scroll.
function fitFigures() {
  for (const image of every('.cell_output img')) {
    const box = image.closest('.figure-box') ?? document.createElement('div')
    if (!box.isConnected) image.replaceWith(box), box.append(image)
    box.className = image.naturalWidth > 700 ? 'figure-box large' : 'figure-box'
    box.style.setProperty('--wide', `${image.naturalWidth}px`)
  }
}

// A table of text that is wider than a phone becomes a list: each cell after its column's name.
function fitTables() {
  for (const table of every('.bd-article table.table:has(thead)')) {
    table.classList.remove('stacked')
    if (innerWidth > 600 || table.scrollWidth <= table.clientWidth) continue
    const heads = [...table.tHead.rows[0].cells].map(head => head.textContent)
    for (const row of table.tBodies[0].rows)
      for (const cell of row.cells) cell.dataset.head = heads[cell.cellIndex]
    table.classList.add('stacked')
  }
}

// What scrolls sideways shows whether more of it is hidden to the right, and the keyboard scrolls it.
function hint(box) {
  box.classList.toggle('more', box.scrollLeft + box.clientWidth < box.scrollWidth - 1)
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0
  else box.removeAttribute('tabindex')
}
const scrolling = '.figure-box, .bd-article pre, .bd-article table, div.math, mjx-container[display], mjx-container.wide'

function fit() {
  fitFigures()
  fitFormulas()
  fitTables()
  every(scrolling).forEach(hint)
}
addEventListener('load', () => {
  fit()
  window.MathJax?.startup?.promise.then(fit)
  const later = new ResizeObserver(() => requestAnimationFrame(fit)) // the window, or what folds
  later.observe(document.querySelector('article') ?? document.body)
})
addEventListener('scroll', ({target}) => { if (target.matches?.(scrolling)) hint(target) }, true)

// What unfolds the parts of a page in the sidebar is named after the page.
addEventListener('load', () => {
  for (const toggle of every('.bd-links summary'))
    toggle.ariaLabel = `Parts of “${toggle.closest('li').querySelector('a').textContent}”`
})

// The meaning of a term, which the mouse sees as the link's title, for the keyboard and for fingers:
// there the first tap shows it, and the second follows the link.
function tell(term) {
  document.querySelector('.meaning')?.remove()
  if (!term) return
  const meaning = document.createElement('div')
  meaning.className = 'meaning'
  meaning.ariaHidden = true // the title says it already
  meaning.textContent = term.title
  document.body.append(meaning)
}
addEventListener('load', () => {
  let tapped
  const forget = () => { tell(); tapped = undefined }
  for (const term of every('a:has(> .term)')) {
    term.addEventListener('focus', () => { if (term.matches(':focus-visible')) tell(term) })
    term.addEventListener('blur', forget)
    term.addEventListener('click', event => {
      if (tapped === term || !matchMedia('(hover: none)').matches) return
      event.preventDefault()
      tell(tapped = term)
    })
  }
  addEventListener('pointerdown', ({target}) => { // on iOS a tap elsewhere is no blur
    if (!target.closest?.('a:has(> .term)')) forget()
  })
  addEventListener('pagehide', forget) // Back shows the page as it was left
})
addEventListener('keydown', ({key}) => { if (key === 'Escape') tell() })

// Paper is white.
let theme
addEventListener('beforeprint', () => {
  theme = document.documentElement.dataset.theme
  document.documentElement.dataset.theme = 'light'
})
addEventListener('afterprint', () => { document.documentElement.dataset.theme = theme })

// The search: whole words before parts of words, numbers too ("557"); what it shows of a page begins
// near the word, leaves out code that only imports, and formulas lose at least their delimiters.
document.addEventListener('DOMContentLoaded', () => { // at the document: before the search itself
  if (typeof Search === 'undefined') return
  Scorer.partialTitle = Scorer.partialTerm = 1
  const parse = Search._parseQuery
  Search._parseQuery = query => {
    const found = parse(query)
    const numbers = /\d\.\d/.test(query) ? [] : splitQuery(query).filter(word => /^\d\d+$/.test(word))
    for (const number of numbers) found[1].add(number), found[3].add(number)
    return found
  }
  Search.makeSearchSummary = (html, words, anchor) => {
    const page = new DOMParser().parseFromString(html, 'text/html')
    for (const code of page.querySelectorAll('.cell_input'))
      if (/^\s*(from|import) /.test(code.textContent)) code.remove()
    page.querySelector('#jb-print-docs-body')?.remove() // the title and the contents once more
    const whole = page.documentElement.outerHTML
    const text = (Search.htmlToText(whole, anchor).trim() || Search.htmlToText(whole))
      .replace(/\\[()[\]]/g, '').replace(/\\([a-zA-Z]+)/g, '$1')
    const place = word => {
      const plain = word.replace('=', ' = ').replace(/[^\p{L}\p{N}_ =]/gu, '').replace(/ /g, '\\s*')
      return text.search(new RegExp(`(?<![\\p{L}\\p{N}_])${plain}`, 'iu'))
    }
    const start = Math.max(0, Math.min(...[...words].map(place).filter(at => at >= 0), text.length) - 120)
    const summary = document.createElement('p')
    summary.className = 'context'
    summary.textContent = `${start ? '…' : ''}${text.substr(start, 240).trim()}…`
    return summary
  }
})

// The ledger: a box of words and a box for each kind of verdict say which rows are shown.
addEventListener('DOMContentLoaded', () => {
  if (!/\/ledger(\.html)?$/.test(location.pathname)) return // other pages have verdicts too
  const head = table => [...(table.tHead?.rows[0].cells ?? [])].map(cell => cell.textContent.trim())
  const tables = every('.bd-article table').filter(table => head(table).includes('verdict'))
  if (!tables.length) return
  const rows = tables.flatMap(table => [...table.tBodies[0].rows])
  const verdict = head(tables[0]).indexOf('verdict')
  const kind = row => { // as in cisp_book.claims
    const text = row.cells[verdict].textContent.trim()
    if (/ in 0 of /.test(text)) return 'fails'
    return / in \d+ of /.test(text) ? 'in part' : text.match(/\w+/)[0].replace('confirmed', 'holds')
  }
  const kinds = ['exact', 'holds', 'rough', 'in part', 'fails']
  const form = document.createElement('form')
  form.className = 'ledger-filter'
  form.innerHTML = `<label>Only rows with <input type="search" placeholder="words, such as 6.55 or z=2"></label>
    ${kinds.map(name => `<label><input type="checkbox" value="${name}" checked> ${name}</label>`).join(' ')}
    <span role="status"></span>`
  tables[0].closest('section').before(form)
  const show = () => {
    const words = form.querySelector('[type=search]').value.toLowerCase().split(/\s+/)
    const asked = [...form.querySelectorAll(':checked')].map(box => box.value)
    for (const row of rows) {
      const text = row.textContent.toLowerCase()
      row.hidden = !asked.includes(kind(row)) || !words.every(word => text.includes(word))
    }
    for (const table of tables)
      table.closest('section').hidden = [...table.tBodies[0].rows].every(row => row.hidden)
    const shown = rows.filter(row => !row.hidden).length
    form.querySelector('[role=status]').textContent = `${shown} of ${rows.length} rows`
  }
  form.addEventListener('input', show)
  form.addEventListener('submit', event => event.preventDefault())
  show()
})
