// Keeps a page up to date while it is looked at: one stream for each visible page.
'use strict';
(() => {
  const main = document.getElementById('main');
  const address = document.querySelector('meta[name="live"]')?.content;
  if (!main || !address || !window.EventSource) return;
  let stream = null, isStale = false, isLoading = false;

  // What somebody has begun to write or to choose is not replaced.
  function isChanged(one) {
    if (one.type === 'hidden') return false;
    if (one.type === 'checkbox') return one.checked !== one.defaultChecked;
    if (one.tagName !== 'SELECT') return one.value !== one.defaultValue;
    return one.selectedIndex !== Math.max(0, [...one.options].findIndex(option => option.defaultSelected));
  }
  const isBusy = () => [...main.querySelectorAll('input, textarea, select:not([data-submit])')].some(
    one => one === document.activeElement || isChanged(one));

  // Which details are open is no part of what the server sends.
  const named = () => [...main.querySelectorAll('details')].map(
    one => [`${one.closest('[id]').id} ${one.querySelector('summary')?.textContent}`, one]);

  async function refresh() {
    if (isLoading || document.hidden || isBusy()) { isStale = true; return; }
    isStale = false;
    isLoading = true;
    const wasOpen = new Map(named().map(([name, one]) => [name, one.open]));
    try {
      await htmx.ajax('GET', location.href, { source: main, target: '#main', select: '#main', swap: 'outerMorph' });
      for (const [name, one] of named()) one.open = wasOpen.get(name) ?? one.open;
    } finally {
      isLoading = false;
      if (isStale) setTimeout(refresh, 500);
    }
  }

  function follow() {
    if (document.hidden) { stream?.close(); stream = null; isStale = true; return; }
    if (stream) return;
    stream = new EventSource(address);
    stream.onopen = () => { if (isStale) refresh(); };
    stream.onerror = () => { isStale = true; };
    for (const topic of ['results', 'regressions']) stream.addEventListener(topic, refresh);
  }

  document.addEventListener('visibilitychange', follow);
  main.addEventListener('focusout', () => { if (isStale) setTimeout(refresh, 500); });
  addEventListener('pagehide', () => stream?.close());
  follow();
})();
