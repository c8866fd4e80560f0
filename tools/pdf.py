"""Print the built book, all pages in one document, to _build/book.pdf.

Run by `make pdf` after `make book`. Chromium opens the first page, the others are put behind it
with their links turned inwards, formulas are typeset, and the whole is printed.
"""

from browser import BOOK, launched, opened, served
from playwright.sync_api import Page

ASSEMBLE = """async () => {
  const links = [...document.querySelectorAll('nav.bd-links a.internal')].map(a => a.href)
  const here = location.href.split('#')[0]
  const others = links.filter(a => /\\/book\\/\\w+[.]html$/.test(a) && a !== here)
  const pages = [here, ...new Set(others)]
  const name = address => address.match(/(\\w+)[.]html/)[1]
  const inside = new Map(pages.map(page => [page, name(page)]))
  const contents = document.createElement('nav')
  contents.innerHTML = '<h2>Contents</h2><ul></ul>' // titles follow as text
  const sections = await Promise.all(pages.map(async page => {
    const html = await (await fetch(page)).text()
    const found = new DOMParser().parseFromString(html, 'text/html')
    const article = found.querySelector('article.bd-article')
    for (const node of article.querySelectorAll(UNPRINTED)) node.remove()
    for (const node of article.querySelectorAll('details')) node.open = true
    for (const node of article.querySelectorAll('[id]')) node.id = `${name(page)}--${node.id}`
    for (const node of article.querySelectorAll('[src]'))
      node.setAttribute('src', new URL(node.getAttribute('src'), page))
    for (const node of article.querySelectorAll('a[href]')) {
      const [address, anchor] = new URL(node.getAttribute('href'), page).href.split('#')
      const place = inside.get(address)
      if (place) node.setAttribute('href', '#' + place + (anchor ? '--' + anchor : ''))
      else if (address.startsWith(location.origin)) node.removeAttribute('href')
      else node.href = address + (anchor ? '#' + anchor : '')
    }
    article.id = name(page)
    return article
  }))
  for (const article of sections) {
    const link = document.createElement('a')
    link.href = '#' + article.id
    link.textContent = article.querySelector('h1').textContent
    contents.lastChild.appendChild(document.createElement('li')).append(link)
  }
  sections[0].append(contents)
  document.body.replaceChildren(...sections)
  document.documentElement.dataset.theme = 'light'
  await MathJax.typesetPromise()
  await Promise.all([...document.images].map(image => image.decode()))
}"""
UNPRINTED = (
    ".explorer, .widget, script, style, .headerlink, .run-this-chapter, .prev-next-area, "
    ".toctree-wrapper"
)
STYLE = """
html, body { font-size: 10.5pt; background: white; }
body { display: block; }
article.bd-article { display: block; padding: 0; break-before: page; max-width: none; }
article.bd-article:first-child { break-before: auto; }
article h1 { font-size: 19pt; margin-top: 0; }
article h2 { font-size: 15pt; }
article h1, article h2 { padding-top: 3mm; } /* else the outline doubles some */
article > nav { break-before: page; }
pre { font-size: 7.2pt !important; }
.math.notranslate { padding: 1mm 0; }
article h3 { font-size: 12.5pt; }
article table { font-size: 9pt; }
article td, article th { padding: 1mm 1.5mm !important; }
td mjx-container { font-size: 100% !important; }
a, a:visited { color: #0b57c4 !important; }
a:has(> .term) { color: inherit !important; }
details > summary { display: none !important; }
"""
FOOTER = (
    '<div style="width: 100%; text-align: center; font: 8pt sans-serif">'
    '<span class="pageNumber"></span></div>'
)


def assemble(page: Page) -> None:
    """Turn the open first page of the book into the whole book."""
    page.add_style_tag(content=STYLE)
    page.evaluate(ASSEMBLE.replace("UNPRINTED", repr(UNPRINTED)))


if __name__ == "__main__":
    with (
        served(BOOK) as address,
        launched() as browser,
        opened(browser, f"{address}/book/intro.html") as page,
    ):
        assemble(page)
        target = BOOK.parent / "book.pdf"
        margin = {"top": "18mm", "bottom": "20mm", "left": "20mm", "right": "20mm"}
        page.pdf(
            path=target,
            format="A4",
            margin=margin,  # type: ignore[arg-type]  # a plain dictionary is what it takes
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            outline=True,
            tagged=True,
        )
        print(target)
