// A network of rotation circuits in superposition, in the reader's browser.
// The names are those of the package cisp; tests/test_explorer.py holds the two together.
'use strict'
document.documentElement.classList.add('explorer-runs')

// ---- The arithmetic ---------------------------------------------------------------------------

const d = 4
const INPUTS = 48
const ON = 1e-4

const isPrime = k => {
  for (let f = 2; f * f <= k; f++) if (k % f === 0) return false
  return k > 1
}

// All rows of S positions that cisp.prime_steps can place, in its order (5.21, 5.22).
function primeSteps(n, S) {
  const rows = []
  const largest = S === 1 ? 1 : Math.floor((n - 1) / (S - 1))
  for (let first = 1; first <= largest; first++) {
    let free = true
    for (let p = 2; p < S; p++) if (isPrime(p) && first % p === 0) free = false
    if (!free) continue
    for (let step = first; step <= largest; step = S === 1 || isPrime(S) ? Infinity : step * S)
      for (let shift = 0; shift < step; shift++)
        for (let start = shift; start < n - (S - 1) * step; start += S * step)
          rows.push(Array.from({length: S}, (_, s) => start + s * step))
  }
  return rows
}

// Numbers in [0, 1) from a seed: the generator mulberry32.
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let k = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    k = (k + Math.imul(k ^ (k >>> 7), 61 | k)) ^ k
    return ((k ^ (k >>> 14)) >>> 0) / 4294967296
  }
}

// `count` of the numbers 0..size-1 without repetition, in random order (Fisher and Yates).
function draw(count, size, random) {
  const all = Array.from({length: size}, (_, k) => k)
  for (let k = 0; k < count; k++) {
    const other = k + Math.floor(random() * (size - k))
    ;[all[k], all[other]] = [all[other], all[k]]
  }
  return all.slice(0, count)
}

// The weights of a circuit that rotates by theta while it is on (5.2), and its biases. The vector
// neurons have the bias -beta, in the post -1.
function weights(theta, beta = 1) {
  const c = Math.cos(theta), s = Math.sin(theta), g = 1 + beta
  return [2, -2, 0, 0, 2, -2, 0, 0, g - (c - s), c - s - g, c, -s, g - (s + c), s + c - g, s, c]
}
const biases = beta => [-0.5, -1.5, -beta, -beta]

// The network of the circuits with angles theta on tables[l-1], T rows of S positions, for layer l.
// again[l-1]: row, column and number of uses beyond the first of each entry of the embedding matrix
// that more than one circuit uses. chi solves 5.24. A circuit's weights are w_t share + w_mean mix.
function superpose(theta, tables, n) {
  const T = theta.length, S = tables[0][0].length
  const w = theta.map(angle => weights(angle))
  const wMean = w[0].map((_, k) => w.reduce((sum, row) => sum + row[k], 0) / T)
  const loads = tables.map(table => {
    const load = new Float64Array(n)
    for (const row of table) for (const p of row) load[p]++
    return load
  })
  const chi = [0], again = [[]]
  for (let l = 1; l < tables.length; l++) {
    const used = new Uint16Array(n * n), more = []
    for (let t = 0; t < T; t++)
      for (const q of tables[l][t]) for (const p of tables[l - 1][t]) used[q * n + p]++
    let M = -T * S * S
    for (let q = 0; q < n; q++)
      for (let p = 0; p < n; p++) {
        const times = used[q * n + p]
        if (times) M += loads[l][q] * loads[l - 1][p]
        if (times > 1) more.push(q, p, times - 1)
      }
    chi.push(T > 1 ? M / (S * (T * (T - 1) * S * S - M)) : 0)
    again.push(Int32Array.from(more))
  }
  return {n, T, S, tables, w, wMean, b: biases(1), share: 1 / S, mix: chi, chi, again}
}

// The extrinsic network (C14.1) of the same circuits, on tables[0] in every layer. w_mean is the mean
// over all angles, beta so large that no circuit alone wakes a neuron of others (C14.2). own[p]: the
// weights by which position p hears itself.
function superposeExtrinsic(theta, tables, n) {
  const T = theta.length, S = tables[0][0].length, share = 1 / (S - 1), beta = S * share
  const w = theta.map(angle => weights(angle, beta)), g = 1 + beta
  const wMean = [2, -2, 0, 0, 2, -2, 0, 0, g, -g, 0, 0, g, -g, 0, 0]
  const own = Array.from({length: n}, () => [...wMean])
  tables[0].forEach((row, t) => {
    for (const p of row) for (let k = 0; k < d * d; k++) own[p][k] -= (w[t][k] - wMean[k]) * share
  })
  const every = value => tables.map(() => value)
  return {n, T, S, tables: every(tables[0]), w, wMean, b: biases(beta), share, mix: every(-share),
    chi: every(0), again: every([]), own}
}

// All activations A^0..A^L, each d blocks of n, for the active circuits with inputs a0 (5.17, 5.25).
function forward(network, active, a0) {
  const {n, tables, w, b} = network
  const A = [new Float64Array(d * n)]
  active.forEach((t, k) => {
    for (let i = 0; i < d; i++) {
      let value = 0
      for (let j = 0; j < d; j++) value += w[t][i * d + j] * a0[k][j]
      for (const p of tables[0][t]) A[0][i * n + p] += value
    }
  })
  A.push(A[0].map((value, k) => Math.max(0, value + b[Math.floor(k / n)])))
  for (let l = 1; l < tables.length; l++) A.push(next(network, l, A[l]))
  return A
}

// The layer made with tables[l] and tables[l-1], as the classes Dealt and Extrinsic explain: -chi
// everywhere, the circuits, what they count twice taken back; or the circuits and a position itself.
function next({n, T, tables, w, wMean, b, share, mix, chi, again, own}, l, A) {
  const mean = new Float64Array(d * n), out = new Float64Array(d * n), g = [0, 0, 0, 0]
  for (let i = 0; i < d; i++) {
    let total = 0
    for (let p = 0; p < n; p++) {
      for (let j = 0; j < d; j++) mean[i * n + p] += wMean[i * d + j] * A[j * n + p]
      total += mean[i * n + p]
    }
    out.fill(b[i] - chi[l] * total, i * n, (i + 1) * n)
    const more = again[l], capped = share + chi[l]
    for (let k = 0; k < more.length; k += 3)
      out[i * n + more[k]] -= more[k + 2] * capped * mean[i * n + more[k + 1]]
    if (own)
      for (let p = 0; p < n; p++)
        for (let j = 0; j < d; j++) out[i * n + p] += own[p][i * d + j] * A[j * n + p]
  }
  for (let t = 0; t < T; t++) {
    for (let i = 0; i < d; i++) {
      g[i] = 0
      for (const p of tables[l - 1][t]) g[i] += A[i * n + p]
    }
    if (!g[0] && !g[1] && !g[2] && !g[3]) continue
    for (let i = 0; i < d; i++) {
      let value = 0
      for (let j = 0; j < d; j++) value += (w[t][i * d + j] * share + mix[l] * wMean[i * d + j]) * g[j]
      for (const p of tables[l][t]) out[i * n + p] += value
    }
  }
  for (let k = 0; k < d * n; k++) if (out[k] < 0) out[k] = 0
  return out
}

// The estimate of the rotating vector of circuit t in layer l (5.30 to 5.32).
function estimate({n, S, tables}, A, l, t) {
  const a = [0, 0, 0, 0]
  for (const p of tables[l - 1][t]) for (let i = 0; i < d; i++) a[i] += A[l][i * n + p] / S
  return [a[2] - (a[0] - a[1]), a[3] - (a[0] - a[1])]
}

// What arrives at neuron (i, q) of layer l before its ReLU: an input (layer 1), or what each position
// of the layer before gives that q is linked to, the largest first, and all others together; and the
// bias. through: the circuits at q. A link is on if a neuron of its position is.
function arriving({n, tables, w, wMean, b, share, chi, own}, A, active, l, i, q) {
  const through = tables[l - 1].flatMap((row, t) => (row.includes(q) ? [t] : []))
  const bias = b[i], links = []
  if (l === 1) return {through, input: A[0][i * n + q], links, others: 0, bias}
  const before = tables[l - 2], blocks = [0, 1, 2, 3]
  const asked = new Set(active.flatMap(t => before[t]))
  const linked = new Set([...through.flatMap(t => before[t]), ...(own ? [q] : [])])
  let others = 0
  for (let p = 0; p < n; p++) {
    const a = blocks.map(j => A[l - 1][j * n + p])
    const given = row => blocks.reduce((sum, j) => sum + row[i * d + j] * a[j], 0)
    if (!linked.has(p)) others -= chi[l - 1] * given(wMean)
    else {
      const itself = own && p === q
      const by = itself ? [] : through.filter(t => before[t].includes(p))
      const mean = itself ? 1 : own ? 0 : share
      const value = by.reduce((sum, t) => sum + share * (given(w[t]) - given(wMean)), mean * given(wMean))
      links.push({p, value, on: a.some(x => x > ON), asked: asked.has(p)})
    }
  }
  links.sort((one, two) => Math.abs(two.value) - Math.abs(one.value))
  return {through, input: 0, links, others, bias}
}

// One network of the given sizes, run on `inputs` random inputs: by layer, the mean squared error
// of active circuits and the mean number of neurons on; and, with its activations, the input with
// the median number of neurons on in the last layer.
function experiment({D, T, S, z, seed, network: kind}, L = 5, inputs = INPUTS) {
  const n = D / d, random = generator(seed), rows = primeSteps(n, S).slice(0, T)
  const theta = rows.map(() => 2 * Math.PI * random())
  const tables = Array.from({length: L}, () => draw(T, T, random).map(t => rows[t]))
  const network = (kind === 'extrinsic' ? superposeExtrinsic : superpose)(theta, tables, n)
  const mse = Array(L).fill(0), on = Array(L).fill(0), runs = []
  for (let k = 0; k < inputs; k++) {
    const active = draw(z, T, random), angles = active.map(() => 2 * Math.PI * random())
    const a0 = angles.map(angle => [1.5, 0.5, 1 + Math.cos(angle), 1 + Math.sin(angle)])
    const A = forward(network, active, a0)
    let last
    for (let l = 1; l <= L; l++) {
      last = 0
      for (const value of A[l]) if (value > ON) last++
      on[l - 1] += last / inputs
      active.forEach((t, which) => {
        const [x0, x1] = estimate(network, A, l, t), angle = angles[which] + l * theta[t]
        mse[l - 1] += ((x0 - Math.cos(angle)) ** 2 + (x1 - Math.sin(angle)) ** 2) / (z * inputs)
      })
    }
    runs.push({active, a0, last})
  }
  const {active, a0} = [...runs].sort((one, two) => one.last - two.last)[inputs >> 1]
  return {network, mse, on, runs, active, A: forward(network, active, a0)}
}

// ---- The page ---------------------------------------------------------------------------------

const D_STEP = 40
const LIMITS = {D: [200, 1600], T: [5, 2500], S: [1, 10], z: [1, 5], seed: [0, 99]}
const SETTINGS = {
  calm: {D: 1000, T: 200, S: 6, z: 1, seed: 0},
  onset: {D: 1000, T: 350, S: 6, z: 1, seed: 0},
  seizure: {D: 1000, T: 557, S: 6, z: 1, seed: 0},
}
const NETWORKS = ['post', 'extrinsic']
const BAND = 14 // pixels above each strip, for the links that lead to it
const get = name => document.getElementById('explorer-' + name)
const most = ({D, S}) => Math.min(primeSteps(D / d, S).length, LIMITS.T[1])
const fewest = network => (network === 'extrinsic' ? 2 : LIMITS.S[0]) // positions: it reads the others

// The setting nearest to the one asked for that can be run.
function allowed(wanted) {
  const setting = {...SETTINGS.seizure}
  for (const [name, [low, high]] of Object.entries(LIMITS)) {
    const value = Math.round(Number(wanted[name] ?? setting[name]))
    setting[name] = Math.min(high, Math.max(low, value || 0))
  }
  setting.network = NETWORKS.includes(wanted.network) ? wanted.network : 'post'
  setting.S = Math.max(setting.S, fewest(setting.network))
  setting.D -= setting.D % D_STEP
  setting.T = Math.min(setting.T, most(setting))
  return setting
}

let share = 1 // T as a part of the circuits that fit: kept when D or S changes

function start() {
  for (const [name, [low, high]] of Object.entries(LIMITS)) {
    const slider = get(name)
    Object.assign(slider, {min: low, max: high, step: name === 'D' ? D_STEP : 1})
    slider.addEventListener('input', () => {
      const wanted = Object.fromEntries(Object.keys(LIMITS).map(k => [k, get(k).valueAsNumber]))
      if (name === 'D' || name === 'S') wanted.T = Math.round(share * most(wanted))
      choose({...wanted, network: current().network})
    })
  }
  for (const name of Object.keys(SETTINGS))
    get(name).addEventListener('click', () => choose({...SETTINGS[name], network: current().network}))
  for (const network of NETWORKS)
    get(network).addEventListener('click', () => choose({...current(), network}))
  get('strips').addEventListener('click', pick)
  get('strips').addEventListener('keydown', step)
  // A hash without = is a place on the page, not a setting.
  const given = () => location.hash.includes('=')
  const fromAddress = () => allowed(Object.fromEntries(new URLSearchParams(location.hash.slice(1))))
  addEventListener('hashchange', () => {
    clearTimeout(saving)
    if (given()) schedule(fromAddress())
  })
  const redraw = () => { prepare(); update(waiting ?? latest) } // at once: a print waits for no frame
  latest = fromAddress() // drawn when the map is first observed
  new ResizeObserver(redraw).observe(get('strips'))
  new MutationObserver(redraw).observe(document.documentElement, {attributeFilter: ['data-theme']})
}

// What the reader chooses goes into the address too, but not at each step of a slider: browsers
// refuse to change it so often. The post's network needs no name there.
let saving
function choose(wanted) {
  const setting = allowed(wanted), {network, ...sizes} = setting
  schedule(setting)
  clearTimeout(saving)
  const address = '#' + new URLSearchParams(network === 'post' ? sizes : setting)
  saving = setTimeout(() => history.replaceState(null, '', address), 300)
}

// What only changes with the window or the theme: the canvases' sizes and the colours.
let strips, colors
function prepare() {
  const style = getComputedStyle(get('map'))
  colors = ['--asked', '--stray', '--edge', 'color'].map(name => style.getPropertyValue(name))
  strips = [...document.querySelectorAll('#explorer-map canvas')]
  const sizes = strips.map(canvas => [canvas.clientWidth, canvas.clientHeight])
  strips.forEach((canvas, k) => {
    ;[canvas.width, canvas.height] = sizes[k].map(side => Math.round(side * devicePixelRatio))
  })
}

// At most one update for each frame, with the latest setting.
let waiting
function schedule(setting) {
  if (!waiting)
    requestAnimationFrame(() => {
      const now = waiting
      waiting = undefined
      update(now)
    })
  waiting = setting
}

let latest, result
const current = () => waiting ?? latest
function update(setting) {
  latest = setting
  const capacity = most(setting)
  if (setting.T !== Math.round(share * capacity)) share = setting.T / capacity
  get('T').max = capacity
  get('S').min = fewest(setting.network)
  for (const name of Object.keys(LIMITS)) {
    get(name).value = setting[name]
    get(name + '-value').textContent = setting[name]
  }
  get('T-value').textContent = `${setting.T} of ${capacity}`
  for (const name of Object.keys(SETTINGS))
    get(name).ariaPressed = Object.keys(LIMITS).every(k => SETTINGS[name][k] === setting[k])
  for (const network of NETWORKS) get(network).ariaPressed = network === setting.network
  document.getElementById('explorer').dataset.network = setting.network
  result = experiment(setting)
  const asked = setting.z * setting.S * d
  get('status').textContent = `Neurons asked for: ${asked}. On in layers 1 to 5: ` +
    `${result.on.map(count => count.toFixed(0)).join(', ')}.`
  get('rows').replaceChildren(...result.mse.map((error, k) => {
    const row = document.createElement('tr')
    for (const text of [k + 1, shown(error), result.on[k].toFixed(1), asked])
      row.insertCell().textContent = text
    return row
  }))
  plot(get('error'), result.mse, 1, 1e-3, 100)
  plot(get('activity'), result.on.map(count => count / setting.D), asked / setting.D)
  map()
}

const shown = error => (error < 1e-9 ? '0' : error < 1e-3 ? '< 0.001' : String(+error.toPrecision(2)))

// Marks by layer beside a dashed line: from 0 to 1, or on a logarithmic scale from low to high.
function plot(svg, values, line, low = 0, high = 1) {
  const log = low > 0, ticks = log ? [0.001, 0.01, 0.1, 1, 10, 100] : [0, 0.25, 0.5, 0.75, 1]
  const scale = value => (log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : value)
  const x = k => 54 + 44 * k, y = value => 146 - 132 * Math.min(1, scale(value))
  const label = value => (log ? shown(value) : String(+value.toPrecision(2)))
  const text = (kind, at, height, words) => `<text class="${kind}" x="${at}" y="${height}">${words}</text>`
  const across = (kind, height) => `<path class="${kind}" d="M38 ${height}H248"/>`
  svg.innerHTML =
    ticks.map(v => across('grid', y(v)) + text('tick', 34, y(v) + 4, v)).join('') +
    across('line', y(line)) +
    `<polyline class="path" points="${values.map((v, k) => `${x(k)},${y(v)}`).join(' ')}"/>` +
    values.map((v, k) =>
      `<circle class="dot" cx="${x(k)}" cy="${y(v)}" r="4"/>` +
      `<rect class="square" x="${x(k) - 4}" y="${y(v) - 4}" width="8" height="8"/>` +
      text('value', x(k), y(v) - 8, label(v)) + text('layer', x(k), 162, k + 1)).join('') +
    text('tick', 34, 162, 'layer')
  svg.setAttribute('aria-label', `${svg.dataset.title}: ` + values.map((value, k) =>
    `layer ${k + 1}: ${label(value)}`).join(', '))
}

// A strip for each layer: a row for each block, a column for each position; what is on is filled.
function map() {
  const {network, A, active} = result, {n} = network, scale = devicePixelRatio
  const asked = k => new Set(active.flatMap(t => network.tables[k][t]))
  strips.forEach((canvas, k) => {
    const paint = canvas.getContext('2d'), band = BAND * scale
    const width = canvas.width / n, height = (canvas.height - band) / d, wanted = asked(k)
    paint.clearRect(0, 0, canvas.width, canvas.height)
    paint.strokeStyle = colors[2]
    paint.strokeRect(0.5, band + 0.5, canvas.width - 1, canvas.height - band - 1)
    const counts = [0, 0]
    A[k + 1].forEach((value, at) => {
      if (value <= ON) return
      const i = Math.floor(at / n), p = at % n, kind = wanted.has(p) ? 0 : 1
      counts[kind]++
      paint.fillStyle = colors[kind]
      paint.fillRect(p * width, band + i * height + 0.5, Math.max(1, width - 0.3), height - 1)
    })
    const text = `${counts[0]} of ${wanted.size * d} asked for, ${counts[1]} strays`
    canvas.ariaLabel = `Layer ${k + 1}, neurons on: ${text}`
    canvas.nextElementSibling.textContent = text.replace(' asked for', '')
  })
  if (neuron?.q >= n) neuron = undefined
  get('neuron').textContent = neuron ? told() : get('neuron').dataset.hint
  if (neuron) mark()
}

// ---- A neuron: what arrives there -------------------------------------------------------------

let neuron // its layer l, block i and position q, once the reader has chosen one
const FRAMED = 6

const arrivals = ({l, i, q}) => arriving(result.network, result.A, result.active, l, i, q)
const isOn = ({l, i, q}) => result.A[l][i * result.network.n + q] > ON
const isAsked = ({l, q}) => result.active.some(t => result.network.tables[l - 1][t].includes(q))

// The neuron and, in the layer before, the positions that are linked to it and on.
function mark() {
  const {l, i, q} = neuron, scale = devicePixelRatio, band = BAND * scale, canvas = strips[l - 1]
  const width = canvas.width / result.network.n, height = (canvas.height - band) / d
  const frame = (on, p, top, tall) => {
    const paint = on.getContext('2d')
    paint.strokeStyle = colors[3]
    paint.lineWidth = 1.5 * scale
    paint.strokeRect((p + 0.5) * width - 2.5 * scale, top, 5 * scale, tall)
  }
  const links = arrivals(neuron).links.filter(link => Math.abs(link.value) > ON)
  const paint = canvas.getContext('2d')
  for (const {p, value, asked} of [...links].reverse()) {
    paint.globalAlpha = 0.2 + 0.8 * Math.abs(value / links[0].value)
    paint.strokeStyle = colors[asked ? 0 : 1]
    paint.lineWidth = 1.5 * scale
    paint.beginPath()
    paint.moveTo((p + 0.5) * width, 0)
    paint.lineTo((q + 0.5) * width, band)
    paint.stroke()
  }
  paint.globalAlpha = 1
  for (const {p} of links.slice(0, FRAMED))
    frame(strips[l - 2], p, band + scale, d * height - 2 * scale)
  frame(canvas, q, band + i * height, height)
}

// The neuron in words and numbers.
function told() {
  const {links, through, input, others, bias} = arrivals(neuron), {l, i, q} = neuron
  const {active, network} = result, on = links.filter(link => link.on)
  const signed = value => (value > -0.005 ? '+' : '−') + Math.abs(value).toFixed(2)
  const sum = values => values.reduce((total, {value}) => total + value, 0)
  const part = (some, one, many) =>
    `${signed(sum(some))} from ${some.length} linked ${some.length === 1 ? one : many}`
  const own = through.filter(t => active.includes(t))
  const terms = l === 1 ? [`${signed(input)} from the input`] : [
    part(on.filter(link => link.asked), 'position asked for', 'positions asked for'),
    part(on.filter(link => !link.asked), 'stray', 'strays'),
    ...(network.own ? [] : [`${signed(others)} from all others (−χ)`])]
  return `Layer ${l}, block ${i}, position ${q}: ${isOn(neuron) ? 'on' : 'off'}, ` +
    `${isAsked(neuron) ? 'asked for' : 'not asked for'}. ` +
    `${terms.join(', ')}, ${signed(bias)} bias: together ${signed(input + sum(links) + others + bias)}. ` +
    `Circuits on this position: ${through.length ? through.join(', ') : 'none'}; ` +
    `active: ${own.length ? own.join(', ') : 'none'}.`
}

// The neuron under the mouse or finger, or one beside it that is on.
function pick({target, clientX, clientY}) {
  const l = strips.indexOf(target) + 1
  if (!l) return
  const {left, top, width, height} = target.getBoundingClientRect(), n = result.network.n
  const within = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value)))
  const i = within((clientY - top - BAND) / (height - BAND) * d, d), x = (clientX - left) / width * n
  const near = Array.from({length: n}, (_, q) => q).filter(q => isOn({l, i, q}))
    .sort((p, q) => Math.abs(p + 0.5 - x) - Math.abs(q + 0.5 - x))[0]
  const close = Math.abs(near + 0.5 - x) * width / n < 6
  neuron = {l, i, q: close ? near : within(x, n)}
  map()
}

// By arrow keys: up and down a block; left and right to the next neuron that is on or asked for, or,
// with shift, a position.
function step(event) {
  const across = {ArrowLeft: -1, ArrowRight: 1}[event.key] ?? 0
  const down = {ArrowUp: -1, ArrowDown: 1}[event.key] ?? 0, n = result.network.n
  if (event.key === 'Escape') neuron = undefined
  else if (!across && !down || event.altKey || event.ctrlKey || event.metaKey) return
  else if (!neuron) neuron = {l: 2, i: 0, q: 0}
  else {
    const row = Math.min(strips.length * d - 1, Math.max(0, (neuron.l - 1) * d + neuron.i + down))
    const next = {l: Math.floor(row / d) + 1, i: row % d, q: neuron.q}
    do next.q += across
    while (across && !event.shiftKey && next.q >= 0 && next.q < n && !isOn(next) && !isAsked(next))
    if (next.q >= 0 && next.q < n) neuron = next
  }
  event.preventDefault()
  map()
}

if (document.currentScript.dataset.page) addEventListener('DOMContentLoaded', start)
