// Four small things to move beside the text; chapters bring them in as widget-*.html. The names are
// those of the package cisp; tests/test_widgets.py holds the two together. Circuits are placed and
// dealt by functions of explorer.js, which comes first where they are needed.
const widgets = (() => {
  'use strict'
  document.documentElement.classList.add('widgets-run')

  // ---- The arithmetic -------------------------------------------------------------------------

  const relu = value => Math.max(0, value)
  const steps = {
    'one ReLU': value => relu(2 * value - 1),
    'two ReLUs': value => relu(2 * value - 0.5) - relu(2 * value - 1.5), // 3.3
  }

  // A value in layers 0 to L, each of which applies the step.
  function through(step, value, L) {
    const values = [value]
    for (let l = 1; l <= L; l++) values.push(step(values[l - 1]))
    return values
  }

  // The number of circuits on each of n positions.
  function load(rows, n) {
    const counts = Array(n).fill(0)
    for (const p of rows.flat()) counts[p]++
    return counts
  }

  // Each position of circuit t, with the other circuits that are on it.
  const meetings = (rows, t) =>
    rows[t].map(p => [p, [...rows.keys()].filter(u => u !== t && rows[u].includes(p))])

  // pairs[k]: how many of the ordered pairs of circuits t != u hear each other through k entries 1/S
  // and S² - k entries -chi of the embedding matrix (5.23), from the positions before to those after.
  function heard(before, after, n) {
    const S = after[0].length, pairs = Array(S * S + 1).fill(0)
    const used = Array.from({length: n}, () => new Uint8Array(n))
    after.forEach((row, t) => { for (const q of row) for (const p of before[t]) used[q][p] = 1 })
    after.forEach((row, t) => before.forEach((sent, u) => {
      let k = 0
      for (const q of row) for (const p of sent) k += used[q][p]
      if (u !== t) pairs[k]++
    }))
    return pairs
  }

  // The mean over pairs of what is a function of k.
  const mean = (pairs, value) =>
    pairs.reduce((sum, times, k) => sum + times * value(k), 0) / pairs.reduce((sum, times) => sum + times)

  // The chi at which the mean of k/S - (S² - k) chi is 0 (C4.1).
  function balanced(pairs) {
    const S = Math.sqrt(pairs.length - 1), M = mean(pairs, k => k)
    return M / (S * (S * S - M))
  }

  // The table of chapter 11: errors[T][layer - 1] = [post, density evolution, measured, spread].
  const errors = table => Object.fromEntries([...table.tBodies[0].rows].map(row => {
    const [T, ...values] = [...row.cells].map(cell => Number(cell.textContent))
    return [T, [0, 4, 8, 12].map(start => values.slice(start, start + 4))]
  }))

  // ---- Drawing --------------------------------------------------------------------------------

  const short = value => String(+value.toFixed(3)).replace('-', '−')
  const ticks = (...values) => values.map(value => [value, short(value)])
  const text = (kind, x, y, words) => `<text class="${kind}" x="${x}" y="${y}">${words}</text>`
  const dot = (kind, x, y, r) => `<circle class="${kind}" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${r}"/>`
  const line = (kind, ...points) =>
    `<polyline class="${kind}" points="${points.map(point => point.map(v => v.toFixed(1))).join(' ')}"/>`

  // The axes of a picture; ticks are pairs of a value and its words, x(value) and y(value) places.
  function axes(width, height, xs, ys, xName, yName) {
    const left = 40, right = width - 12, top = 24, low = height - 38
    const scale = (ticks, from, to) => value =>
      from + (to - from) * (value - ticks[0][0]) / (ticks.at(-1)[0] - ticks[0][0])
    const x = scale(xs, left, right), y = scale(ys, low, top)
    const drawn = text('', 2, 12, yName) + text('middle', (left + right) / 2, height - 4, xName) +
      ys.map(([v]) => line('grid', [left, y(v)], [right, y(v)])).join('') +
      ys.map(([v, words]) => text('end', left - 5, y(v) + 4, words)).join('') +
      xs.map(([v, words]) => text('middle', x(v), low + 16, words)).join('')
    return {x, y, drawn}
  }

  // What a widget of the page says and shows: show(values, inputs) gives its status and its pictures.
  const widget = (name, show) => addEventListener('DOMContentLoaded', () => {
    const root = document.getElementById('widget-' + name)
    if (!root) return
    const inputs = Object.fromEntries([...root.querySelectorAll('input')].map(each => [each.name, each]))
    const update = () => {
      const values = Object.entries(inputs).map(([key, input]) => [key, input.valueAsNumber])
      const [status, ...pictures] = show(Object.fromEntries(values), inputs)
      for (const input of Object.values(inputs)) input.nextElementSibling.textContent = input.value
      root.querySelector('[role=status]').textContent = status
      root.querySelectorAll('svg').forEach((svg, k) => {
        svg.innerHTML = pictures[k]
        svg.setAttribute('aria-label', `${svg.dataset.title}. ${status}`)
      })
    }
    root.addEventListener('input', update)
    root.addEventListener('click', ({target}) => { // on a circuit
      const row = target.closest('[data-t]')
      if (row) inputs.t.value = row.dataset.t, update()
    })
    update()
  })

  // Chapter 1: an indicator through five layers, up or down to the curve, across to the diagonal.
  widget('step', ({start}) => {
    const low = -0.25, high = 1.5, marks = [[low, ''], ...ticks(0, 0.5, 1, high)]
    const runs = Object.entries(steps).map(([name, step]) => [name, step, through(step, start, 5)])
    const pictures = runs.map(([name, step, values]) => {
      const {x, y, drawn} = axes(240, 250, marks, marks, 'before a layer', `after it, ${name}`)
      const at = (a, b) => [x(a), y(Math.min(b, high))] // what runs away leaves the picture
      const curve = Array.from({length: 71}, (_, k) => low + k / 40).filter(a => step(a) <= high)
      const pairs = values.slice(1).map((after, l) => [values[l], after]).filter(([before]) => before <= high)
      const stairs = pairs.flatMap(([a, b]) => [at(a, b), at(Math.min(b, high), b)])
      const dots = pairs.filter(([, after]) => after <= high).map(pair => dot('second', ...at(...pair), 3))
      return drawn + line('grid', at(low, low), at(high, high)) +
        line('thick', ...curve.map(a => at(a, step(a)))) +
        line('second', at(start, low), ...stairs) + dot('first', ...at(start, low), 4) + dots.join('')
    })
    const said = runs.map(([name, , values]) => `${name} ${values.slice(1).map(short).join(', ')}`)
    return [`From ${short(start)}, in layers 1 to 5: ${said.join('; ')}.`, ...pictures]
  })

  // Chapter 3: the first T rows of prime steps, the load below them, and whom circuit t meets.
  const MOST = 40 // rows that a phone shows
  widget('allocation', ({n, S}, inputs) => {
    const {T: {value, max}} = inputs, all = primeSteps(n, S)
    inputs.T.max = Math.min(all.length, MOST)
    if (value === max) inputs.T.value = inputs.T.max // full stays full
    const rows = all.slice(0, inputs.T.valueAsNumber)
    inputs.t.max = rows.length - 1
    const t = inputs.t.valueAsNumber, met = meetings(rows, t).filter(([, others]) => others.length)
    const where = new Map(met.flatMap(([p, others]) => others.map(u => [u, p])))
    const counts = load(rows, n), most = Math.max(...counts), foot = 8 * rows.length + 92
    const x = p => 30 + 322 * (p + 0.5) / n, y = u => 24 + 8 * u
    const lines = rows.map((row, u) => {
      const kind = u === t ? 'first' : where.has(u) ? 'second' : 'plain'
      return `<g data-t="${u}"><rect x="0" y="${y(u) - 4}" width="360" height="8"/>` +
        line(kind, [x(row[0]), y(u)], [x(row.at(-1)), y(u)]) +
        row.map(p => dot(kind, x(p), y(u), 2)).join('') +
        (where.has(u) ? dot('ring', x(where.get(u)), y(u), 4) : '') + '</g>'
    })
    const bars = counts.map((c, p) => {
      const [width, height] = [260 / n, 50 * c / most].map(side => side.toFixed(1))
      return `<rect class="${rows[t].includes(p) ? 'first' : 'plain'}" x="${(x(p) - 130 / n).toFixed(1)}"
        y="${foot - height}" width="${width}" height="${height}"/>`
    })
    document.querySelector('#widget-allocation svg').setAttribute('viewBox', `0 0 360 ${foot + 22}`)
    const said = met.map(([p, others]) => `position ${p}: ${others.join(', ')}`).join('; ')
    return [
      `Circuit ${t} meets ${where.size} of the other ${rows.length - 1}${said && ` (${said})`}. ` +
        `The load is ${Math.min(...counts)} to ${most}, on average ${(rows.length * S / n).toFixed(1)}.`,
      text('', 2, 12, 'circuits') + lines.join('') + text('', 2, foot - 56, 'load') + bars.join('') +
        text('end', 24, foot - 40, most) + text('end', 24, foot, 0) +
        text('middle', 191, foot + 16, `positions 0 to ${n - 1}`),
    ]
  })

  // Chapter 4: what a circuit hears of another through the two values of the embedding matrix.
  const n = 250, S = 6, deals = new Map() // of the running example, for each T
  widget('chi', ({chi, T}) => {
    if (!deals.has(T)) {
      const rows = primeSteps(n, S).slice(0, T)
      deals.set(T, heard(draw(T, T, generator(0)).map(t => rows[t]), rows, n))
    }
    const pairs = deals.get(T), best = balanced(pairs)
    const shares = pairs.map(times => times / (T * (T - 1))), most = Math.max(...shares)
    const plus = k => k / S / S, minus = k => -chi * (S * S - k) / S
    const humps = {'second wide': plus, 'first wide': minus, thin: k => plus(k) + minus(k)}
    const tops = [[0, '0'], [most, most.toFixed(2)]]
    const names = ['what one circuit hears of another', 'share of pairs']
    const {x, y, drawn} = axes(360, 250, ticks(-1, -0.5, 0, 0.5, 1), tops, ...names)
    const lines = Object.entries(humps).map(([kind, value]) => {
      const middle = x(mean(pairs, value))
      const points = shares.flatMap((share, k) => (share ? [[x(value(k)), y(share)]] : []))
      const dots = kind === 'thin' ? points.map(point => dot('', ...point, 2)) : []
      return line(kind, ...points) + dots.join('') +
        line(`${kind.split(' ')[0]} dashed`, [middle, y(0)], [middle, y(most)])
    })
    const along = value => x(0) + (x(1) - x(0)) * (value / 0.075 - 1)
    const scale = text('', 2, 276, 'χ') + line('grid', [along(0), 272], [along(0.15), 272]) +
      line('thick', [along(best), 264], [along(best), 280]) + dot('', along(chi), 272, 5) +
      text('middle', Math.max(along(best), 60), 294, `balanced: ${best.toFixed(4)}`)
    const [right, left, both] = Object.values(humps).map(value => short(mean(pairs, value)))
    return [
      `On average ${right} through entries 1/S and ${left} through entries −χ, together ${both}. ` +
        `With ${T} circuits they balance at χ = ${best.toFixed(4)}.`,
      drawn + lines.join('') + scale,
    ]
  })

  // Chapter 11: the errors of its table, side by side in each layer.
  widget('errors', ({T}) => {
    const layers = errors(document.querySelector('.tag_widget-errors table'))[T]
    const powers = [0.01, 0.1, 1, 10].map(value => [Math.log10(value), value])
    const names = [[0.5, ''], [1, 1], [2, 2], [3, 3], [4, 4], [4.5, '']]
    const {x, y, drawn} = axes(360, 280, names, powers, 'layer', 'mean squared error of active vectors')
    const marks = layers.map(([post, evolved, measured, spread], k) => {
      const [left, middle, right] = [-10, 0, 10].map(shift => x(k + 1) + shift)
      const at = value => y(Math.log10(value))
      return line('second', [left - 4, at(post) - 4], [left + 4, at(post) + 4]) +
        line('second', [left - 4, at(post) + 4], [left + 4, at(post) - 4]) +
        line('thick', [middle - 5, at(evolved)], [middle + 5, at(evolved)]) +
        line('thick', [middle, at(evolved) - 5], [middle, at(evolved) + 5]) +
        line('first', [right, at(measured - spread)], [right, at(measured + spread)]) +
        dot('first', right, at(measured), 3.5)
    })
    const guess = line('dashed', [x(0.5), y(0)], [x(4.5), y(0)])
    const guesses = text('', x(0.5), y(0) - 4, 'always guessing 0')
    const [post, evolved, measured, spread] = layers[3], times = value => (measured / value).toPrecision(2)
    return [
      `${T} circuits, layer 4: measured ${measured}, with a spread of ${+spread.toPrecision(2)}; that is ` +
        `${times(post)} times the post's ${post} and ${times(evolved)} times density evolution's ${evolved}.`,
      drawn + guess + guesses + marks.join(''),
    ]
  })

  return {steps, through, load, meetings, heard, mean, balanced, errors}
})()
