// Graphs, keys and what else a page gains from a script. Every page works without it.
'use strict';
(() => {
  const UNITS = [[1e6, 's'], [1e3, 'ms'], [1, 'µs']];
  const VERDICTS = { r: 'regressed', i: 'improved', u: 'unchanged', '?': 'inconclusive', n: 'not comparable', k: 'known' };
  const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 4]];

  // As reporters/numbers.py: a small number is not nothing.
  function three(value) {
    const size = Math.abs(value);
    if (size > 0 && size < .1) return String(Number(value.toPrecision(2)));
    return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
  }

  function amount(value, unit) {
    if (value == null) return '';
    if (unit === '×') return value.toFixed(3) + ' ×';
    if (unit !== 'us') return `${Number(value.toPrecision(3))} ${unit}`.trim();
    const [scale, name] = UNITS.find(one => Math.abs(value) >= one[0]) || UNITS[2];
    return `${three(value / scale)} ${name}`;
  }

  function labels(values, unit) {  // of an axis: all in one unit, with as many digits as tell them apart
    let scale = 1, name = unit;
    if (unit === 'us') [scale, name] = UNITS.find(one => Math.abs(values[values.length - 1]) >= one[0]) || UNITS[2];
    const step = values.length > 1 ? Math.abs(values[1] - values[0]) / scale : 1;
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const text = one => digits <= 6 ? one.toFixed(digits) : String(Number(one.toPrecision(3)));
    return values.map(one => `${text(one / scale)} ${name}`.trim());
  }

  const percent = ratio => `${ratio < 1 ? '−' : '+'}${Math.abs((ratio - 1) * 100).toFixed(1)} %`;
  const day = time => new Date(time * 1000).toISOString().slice(0, 10);

  // --- a graph ---

  // The inverse of line_data in pages/graph.py.
  function decoded(series, divisor) {
    const q = series.quantum / divisor;
    let x = 0, value = 0;
    const values = series.values.map(step => (value += step) * q);
    const moved = (distances, sign) => values.map(
      (one, i) => distances && distances[i] != null ? one + sign * distances[i] * q : null);
    return {
      ...series,
      x: series.steps.flatMap(([step, times]) => Array.from({ length: times }, () => x += step)),
      verdicts: series.verdicts.replace(/(\d+)(\D)/g, (_, times, one) => one.repeat(times)),
      values, low: moved(series.low, -1), high: moved(series.high, 1), control: moved(series.control, -1),
    };
  }

  function median(values) {
    const sorted = [...values].sort((a, b) => a - b), half = values.length >> 1;
    return (values.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2) || 1;
  }

  function draw(element, data) {
    const read = element.parentNode.querySelector('.graph-read');
    const unit = data.relative ? '×' : data.unit;
    const all = data.series.map(one => decoded(one, data.relative ? median(decoded(one, 1).values) : 1));
    const main = all[0];
    const commits = data.commits;
    const at = new Map(commits.positions.map((position, i) => [position, i]));
    const tables = all.map((one, i) => i ? [one.x, one.values] : [one.x, one.control, one.low, one.high, one.values]);
    const columns = tables.length > 1 ? uPlot.join(tables) : tables[0];
    const place = new Map(main.x.map((x, i) => [x, i]));
    const tainted = new Set(main.tainted);
    const xs = columns[0];
    if (!xs.length) { read.textContent = 'There are no points here.'; return; }
    const whole = [xs[0] - .5, xs[xs.length - 1] + .5];
    let colour, plot, cursor = null;

    const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const colours = () => Object.fromEntries(['text', 'muted', 'line', 'slower', 'faster', 'warning', 'band',
      'series-1', 'series-2', 'series-3', 'series-4'].map(one => [one, style('--' + one)]));

    function describe(i) {
      const x = xs[i], n = at.get(x), own = place.get(x);
      const parts = [];
      if (n != null) parts.push(`${commits.shas[n]} ${day(commits.times[n])} ${commits.subjects[n] || ''}`.trim());
      if (own != null) {
        parts.push(amount(main.values[own], unit));
        if (main.low[own] != null) parts.push(`${amount(main.low[own], unit)} to ${amount(main.high[own], unit)}`);
        if (main.control[own] != null && main.control[own] > 0) {
          parts.push(`${percent(main.values[own] / main.control[own])} against the control`);
        }
        if (VERDICTS[main.verdicts[own]]) parts.push(VERDICTS[main.verdicts[own]]);
        if (tainted.has(own)) parts.push('⚠ tainted');
      }
      all.slice(1).forEach((one, k) => {
        const value = columns[5 + k][i];
        if (value != null) parts.push(`${one.label}: ${amount(value, unit)}`);
      });
      return parts.join(' · ');
    }

    function marks(u) {
      const c = u.ctx, ratio = devicePixelRatio, { left, top, width, height } = u.bbox;
      const px = x => u.valToPos(x, 'x', true), py = y => u.valToPos(y, 'y', true);
      const inside = x => x >= u.scales.x.min && x <= u.scales.x.max;
      c.save();
      c.beginPath(); c.rect(left, top, width, height); c.clip();
      c.font = `${12 * ratio}px system-ui, sans-serif`; c.textAlign = 'left'; c.textBaseline = 'alphabetic';
      const upright = (x, dash, colour) => {
        c.strokeStyle = c.fillStyle = colour; c.lineWidth = 1.5 * ratio;
        c.setLineDash(dash.map(one => one * ratio));
        c.beginPath(); c.moveTo(px(x), top); c.lineTo(px(x), top + height); c.stroke(); c.setLineDash([]);
      };
      const write = (text, x, y) => {
        const wide = c.measureText(text).width, after = left + width - px(x), before = px(x) - left;
        c.fillText(text, after > wide + 8 * ratio || after > before ? px(x) + 5 * ratio : px(x) - wide - 5 * ratio, y);
      };
      data.breaks.filter(one => inside(one.x)).forEach((one, i) => {
        upright(one.x - .5, [2, 3], colour.muted);
        if (element.clientWidth > 560) write(one.text.length > 48 ? one.text.slice(0, 47) + '…' : one.text, one.x - .5, top + height - (8 + 16 * (i % 3)) * ratio);
      });
      c.fillStyle = colour.muted;
      data.controls.filter(inside).forEach(x => c.fillRect(px(x) - ratio, top + height - 7 * ratio, 2 * ratio, 7 * ratio));
      data.changes.filter(one => inside(one.x)).forEach(one => {
        upright(one.x - .5, [5, 4], colour[one.way] || colour.muted);
        write(`${one.ratio > 1 ? '▲' : '▼'} ${percent(one.ratio)}`, one.x - .5, top + 14 * ratio);
      });
      c.strokeStyle = colour.warning; c.lineWidth = 2 * ratio;
      tainted.forEach(i => {
        if (!inside(main.x[i]) || main.values[i] == null) return;
        c.beginPath(); c.arc(px(main.x[i]), py(main.values[i]), 4 * ratio, 0, 7); c.stroke();
      });
      c.restore();
    }

    function remember(u) {  // the zoom is a part of the address
      const { min, max } = u.scales.x, address = new URL(location.href);
      const isWhole = min <= whole[0] && max >= whole[1];
      for (const [name, value] of [['from', Math.ceil(min)], ['to', Math.floor(max)]]) {
        if (isWhole) address.searchParams.delete(name); else address.searchParams.set(name, value);
      }
      if (data.remembers && address.href !== location.href) history.replaceState(history.state, '', address);
    }

    function make() {
      const isKept = plot && { min: plot.scales.x.min, max: plot.scales.x.max };
      if (plot) plot.destroy();
      colour = colours();
      const few = xs.length < 60;
      const line = (label, i) => ({
        label, stroke: i ? colour['series-' + i] : colour.text, width: i ? 1.2 : 1.4, spanGaps: true,
        dash: DASHES[i], points: { show: few, size: 5, fill: i ? colour['series-' + i] : colour.text },
      });
      const hidden = { stroke: 'transparent', width: 0, spanGaps: true, points: { show: false } };
      const axis = { stroke: colour.muted, grid: { stroke: colour.line, width: 1 }, ticks: { stroke: colour.line, width: 1 } };
      plot = new uPlot({
        width: element.clientWidth, height: element.clientHeight,
        legend: { show: false },
        cursor: { y: false, drag: { x: true, y: false, dist: 8 } },
        scales: { x: { time: false, range: (u, low, high) => low === high ? [low - 1, high + 1] : [low, high] } },
        axes: [
          {
            ...axis, space: 100, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000],
            values: (u, ticks) => ticks.map(x => at.has(x) ? day(commits.times[at.get(x)]) : ''),
          },
          { ...axis, size: innerWidth < 640 ? 68 : 82, values: (u, ticks) => labels(ticks, unit) },
        ],
        series: [{},
          { ...line('control', 0), stroke: colour.muted, dash: [2, 3], width: 1, points: { show: false } },
          hidden, hidden, line(main.label, 0),
          ...all.slice(1).map((one, i) => line(one.label, i + 1))],
        bands: [{ series: [3, 2], fill: colour.band }],
        hooks: {
          draw: [marks],
          setScale: [(u, name) => { if (name === 'x' && u.status) remember(u); }],
          setCursor: [u => { if (u.cursor.idx != null) { cursor = u.cursor.idx; read.textContent = describe(cursor); } }],
        },
      }, columns, element);
      const range = isKept || data.range && { min: data.range[0] - .5, max: data.range[1] + .5 };
      plot.setScale('x', range || { min: whole[0], max: whole[1] });
      plot.over.addEventListener('dblclick', () => plot.setScale('x', { min: whole[0], max: whole[1] }));
      plot.over.addEventListener('click', event => { if (event.detail === 1 && event.ctrlKey) open(); });
    }

    function open() {
      const own = cursor == null ? null : place.get(xs[cursor]);
      // Of a graph in a frame, too: only graphs may be in one.
      if (own != null && main.runs && main.runs[own]) window.open(data.run + main.runs[own], '_top');
    }

    function move(step) {
      const { min, max } = plot.scales.x;
      cursor = cursor == null ? xs.length - 1 : Math.max(0, Math.min(xs.length - 1, cursor + step));
      const x = xs[cursor], half = (max - min) / 2;
      if (x < min || x > max) plot.setScale('x', { min: x - half, max: x + half });
      plot.setCursor({ left: plot.valToPos(x, 'x'), top: 10 });
      read.textContent = describe(cursor);
    }

    function zoom(factor) {
      const { min, max } = plot.scales.x, middle = cursor == null ? (min + max) / 2 : xs[cursor];
      const half = Math.max(2, (max - min) * factor / 2);
      plot.setScale('x', { min: Math.max(whole[0], middle - half), max: Math.min(whole[1], middle + half) });
    }

    element.addEventListener('keydown', event => {
      const done = {
        ArrowLeft: () => move(-1), ArrowRight: () => move(1), Enter: open, '+': () => zoom(.5), '-': () => zoom(2),
        0: () => plot.setScale('x', { min: whole[0], max: whole[1] }),
      }[event.key];
      if (done && !event.altKey && !event.metaKey) { done(); event.preventDefault(); event.stopPropagation(); }
    });
    make();
    let width = element.clientWidth;
    const seen = new ResizeObserver(() => {
      if (!element.isConnected) { seen.disconnect(); return; }
      if (element.clientWidth !== width && element.clientWidth) { width = element.clientWidth; plot.setSize({ width, height: plot.height }); }
    });
    seen.observe(element);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { if (element.isConnected) make(); });
  }

  function graphs(root) {
    for (const element of root.querySelectorAll('.graph[data-of]')) {
      if (element.firstElementChild) continue;
      const fresh = element.cloneNode(false), hasFocus = element === document.activeElement;
      element.replaceWith(fresh);  // without the listeners of a graph that was drawn before an update
      draw(fresh, JSON.parse(document.getElementById(element.dataset.of).textContent));
      if (hasFocus) fresh.focus();
    }
  }

  // --- the report in one file ---

  function made(tag, text, kind) {
    const element = document.createElement(tag);
    element.textContent = text;
    if (kind) element.className = kind;
    return element;
  }

  function table(heading, heads, rows) {
    const whole = document.createDocumentFragment(), frame = made('div', '', 'scroll');
    const lines = made('table', ''), head = lines.createTHead().insertRow(), body = lines.createTBody();
    heads.forEach(([text, kind]) => head.append(made('th', text, kind)));
    rows.forEach(cells => {
      const row = body.insertRow();
      cells.forEach((cell, i) => row.append(made('td', cell.text ?? cell, `${heads[i][1] || ''} ${cell.kind || ''}`.trim())));
    });
    frame.append(lines);
    whole.append(made('h2', heading), frame);
    return whole;
  }

  const moved = (ratio, way) => ratio == null ? ''
    : { text: `${way ? ratio > 1 ? '▲ ' : '▼ ' : ''}${percent(ratio)}`, kind: way || '' };

  function showChosen(data) {
    const [, key] = location.hash.match(/^#(?:series-(.*))?$/) || [];
    if (location.hash && key == null) return;  // a place within what is shown
    const series = Object.hasOwn(data.series, key ?? '') ? data.series[key] : null;
    const chosen = document.getElementById('chosen');
    document.getElementById('whole').hidden = !!series;
    chosen.hidden = !series;
    if (!series) return;
    const title = chosen.querySelector('h1'), graph = chosen.querySelector('.graph'), tables = chosen.querySelector('.tables');
    title.replaceChildren(series.model, made('small', series.where));
    graph.replaceWith(graph.cloneNode(false));  // without the listeners of the series before
    tables.replaceChildren();
    chosen.querySelector('.graph-read').textContent = '';
    const { shas, times, subjects } = data.commits;
    draw(chosen.querySelector('.graph'), {
      ...series, series: [series.line], relative: false, range: null, remembers: false,
      commits: { ...data.commits, positions: shas.map((_, i) => i) },
    });
    if (series.changes.length) {
      tables.append(table('Changes', [['first bad'], ['date', 'nowrap'], ['change', 'number']], series.changes
        .map(one => [`${shas[one.x]} ${subjects[one.x]}`, day(times[one.x]), moved(one.ratio, one.way)])));
    }
    const line = decoded(series.line, 1), tainted = new Set(line.tainted);
    tables.append(table('Commits', [['commit', 'name'], ['date', 'nowrap'], ['median', 'number'], ['interval', 'number'],
      ['against control', 'number'], ['verdict'], ['', 'warning']], line.x.map((x, i) => [
      `${shas[x]} ${subjects[x]}`, day(times[x]), amount(line.values[i], series.unit),
      line.low[i] == null ? '' : `${amount(line.low[i], series.unit)} – ${amount(line.high[i], series.unit)}`,
      line.control[i] > 0 ? percent(line.values[i] / line.control[i]) : '',
      VERDICTS[line.verdicts[i]] || '', tainted.has(i) ? '⚠ tainted' : '',
    ]).reverse()));
    scrollTo(0, 0);
  }

  function report() {
    const block = document.getElementById('report-data');
    if (!block) return;
    const data = JSON.parse(block.textContent);
    addEventListener('hashchange', () => showChosen(data));
    if (location.hash) showChosen(data);
  }

  // --- keys ---

  const PAGES = { o: '', m: 'matrix', c: 'compare', r: 'regressions', d: 'devices' };
  let isGoing = false;

  function row(step) {
    const links = [...document.querySelectorAll('main tbody a[href], main .more a')]
      .filter((one, i, every) => !i || every[i - 1].closest('tr') !== one.closest('tr'));
    if (!links.length) return;
    const here = links.findIndex(one => one.closest('tr') === document.activeElement.closest('tr'));
    links[here < 0 ? 0 : Math.max(0, Math.min(links.length - 1, here + step))].focus();
  }

  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest('input, select, textarea')) return;
    const search = document.querySelector('[data-key="/"]'), keys = document.getElementById('keys');
    if (isGoing && event.key in PAGES && document.querySelector('.top nav')) {
      const home = document.querySelector('.top .name');
      location.href = new URL(PAGES[event.key], new URL(home.getAttribute('href'), location.href));
    } else if (event.key === '/' && search) { search.focus(); event.preventDefault(); }
    else if (event.key === 'j') row(1);
    else if (event.key === 'k') row(-1);
    else if (event.key === '?' && keys) keys.showModal();
    isGoing = event.key === 'g';
  });

  document.addEventListener('click', event => {
    const button = event.target.closest('[data-copy]');
    if (!button) return;
    const text = document.getElementById(button.dataset.copy).textContent;
    // Without TLS there is no clipboard, except on this machine.
    const copied = navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject();
    copied.then(() => { button.textContent = 'copied'; }, () => {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = 'selected';
    });
  });

  document.addEventListener('change', event => {
    if (event.target.matches('[data-submit]')) event.target.form.requestSubmit();
  });

  document.addEventListener('htmx:after:swap', () => graphs(document));
  const begin = () => { graphs(document); report(); };
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', begin); else begin();
})();
