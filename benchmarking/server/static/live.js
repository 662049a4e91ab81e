// Keeps a page up to date while it is looked at: one stream for each visible page.
'use strict';
(() => {
  const main = document.getElementById('main');
  const address = document.querySelector('meta[name="live"]')?.content;
  if (!main || !address || !window.EventSource) return;
  let stream = null, isStale = false, isLoading = false;

  // What somebody has begun to write is not replaced.
  const isBusy = () => [...main.querySelectorAll('input, textarea')].some(
    one => one === document.activeElement || (one.type !== 'hidden' && one.value !== one.defaultValue));

  async function refresh() {
    if (isLoading || document.hidden || isBusy()) { isStale = true; return; }
    isStale = false;
    isLoading = true;
    try {
      await htmx.ajax('GET', location.href, { source: main, target: '#main', select: '#main', swap: 'outerMorph' });
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
