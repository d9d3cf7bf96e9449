// What pages do beyond reading: the colour switch, tooltips and zoom of curves, curves that are fetched when they come
// into view, and parts that are fetched again when something happened. Everything works without it.
(() => {
  'use strict';
  const root = document.documentElement;
  const kept = (() => { try { return localStorage.getItem('theme') || ''; } catch { return ''; } })();
  const theme = (name) => { if (name) root.dataset.theme = name; else delete root.dataset.theme; };
  theme(kept);

  document.addEventListener('DOMContentLoaded', () => {
    const label = document.querySelector('.theme');
    const choice = document.getElementById('theme');
    if (choice) {
      label.hidden = false;
      choice.value = kept;
      choice.addEventListener('change', () => {
        theme(choice.value);
        try { localStorage.setItem('theme', choice.value); } catch { /* not kept, but shown */ }
      });
    }
    // Addresses that MLflow's client prints after a run lead to the same run here.
    const old = /^#\/experiments\/(\d+)(?:\/runs\/([0-9a-f]{32}))?/.exec(location.hash);
    if (location.pathname === '/' && old) {
      location.replace(old[2] ? `/runs/${old[2]}` : `/experiments/${old[1]}`);
      return;
    }
    if (location.pathname === '/' && /^#\/models\/[^/]+$/.test(location.hash)) {
      location.replace(`/models/${location.hash.slice(9)}`);
      return;
    }
    // Parts as they came, before anything is arranged in them: what comes again the same is not exchanged.
    const parts = [...document.querySelectorAll('[data-part][id]')];
    const texts = parts.map((part) => part.outerHTML);
    parts.forEach((part, at) => { part.dataset.seen = texts[at]; });
    arrange(document);
    follow();
  });

  // Everything that a part needs after it came: once for the page, again for each part that was replaced.
  function arrange(within) {
    for (const svg of within.querySelectorAll('svg[data-chart="line"]')) curves(svg);
    for (const place of within.querySelectorAll('[data-later]')) later.observe(place);
    for (const log of within.querySelectorAll('.log[data-growing] .lines')) log.scrollTop = log.scrollHeight;
  }

  const get = async (address) => {
    const answer = await fetch(address, { headers: { accept: 'text/html' }, credentials: 'same-origin' });
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), 'text/html');
  };

  const later = new IntersectionObserver((seen) => {
    for (const one of seen) {
      if (!one.isIntersecting) continue;
      later.unobserve(one.target);
      const figure = one.target.closest('figure');
      get(one.target.dataset.later).then((page) => {
        const found = page && page.getElementById(figure.id);
        if (found) { figure.replaceWith(found); arrange(found.parentNode || document); }
      }).catch(() => {});
    }
  }, { rootMargin: '300px' });

  // Live: the log of events says that something happened; the parts of the page that are different are replaced.
  function follow() {
    const kinds = (document.body.dataset.live || '').split(' ').filter(Boolean);
    const growing = 'growing' in document.body.dataset;
    const told = document.getElementById('live');
    let source = null, waiting = null, busy = false, again = false, clock = null;
    const refresh = async () => {
      if (busy) { again = true; return; }
      busy = true;
      try {
        const page = await get(location.href);
        if (page) {
          exchange(page);
          if (growing && !('growing' in page.body.dataset)) { clearInterval(clock); clock = null; }
        }
      } catch { /* the next event tries again */ }
      busy = false;
      if (again) { again = false; soon(); }
    };
    const soon = () => { clearTimeout(waiting); waiting = setTimeout(refresh, 350); };
    const open = () => {
      if (!kinds.length || source) return;
      source = new EventSource('/api/v1/events/stream');
      for (const kind of kinds) source.addEventListener(kind, soon);
      // What happened between the page and the stream would never be told.
      source.onopen = () => { if (told) told.textContent = '● live'; soon(); };
      source.onerror = () => { if (told) told.textContent = '○ not connected'; };
    };
    // Browsers keep few connections to a server open; pages that nobody looks at give theirs back.
    const close = () => { if (source) source.close(); source = null; };
    const poll = () => { if (growing && !clock) clock = setInterval(() => { if (!document.hidden) refresh(); }, 2000); };
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) { close(); } else { open(); refresh(); }
    });
    addEventListener('pagehide', close);
    open();
    poll();
  }

  function exchange(page) {
    for (const old of document.querySelectorAll('[data-part][id]')) {
      const fresh = page.getElementById(old.id);
      if (!fresh || old.contains(document.activeElement) && document.activeElement !== document.body) continue;
      // What somebody has typed stays.
      if ([...old.querySelectorAll('input, textarea')].some((one) => one.type !== 'checkbox' && one.value !== one.defaultValue)) continue;
      const chosen = getSelection();
      if (chosen && !chosen.isCollapsed && old.contains(chosen.anchorNode)) continue;
      if (old.querySelector('[data-part]') && fresh.querySelector('[data-part]')) {
        const inner = (part) => [...part.querySelectorAll('[data-part]')].map((one) => one.id).join();
        if (inner(old) === inner(fresh)) continue;
      }
      if (old.dataset.seen === fresh.outerHTML || old.outerHTML === fresh.outerHTML) continue;
      const text = fresh.outerHTML;
      const open = [...old.querySelectorAll('details')].map((one) => one.open);
      [...fresh.querySelectorAll('details')].forEach((one, at) => { one.open = open[at] || false; });
      const ticked = new Set([...old.querySelectorAll('input:checked')].map((one) => one.value));
      for (const one of fresh.querySelectorAll('input[type=checkbox]')) one.checked = ticked.has(one.value);
      const moved = [...old.querySelectorAll('.scroll, .lines')].map((one) => [one.scrollLeft, one.scrollTop]);
      fresh.dataset.seen = text;
      old.replaceWith(fresh);
      [...fresh.querySelectorAll('.scroll, .lines')].forEach((one, at) => {
        if (moved[at]) { one.scrollLeft = moved[at][0]; one.scrollTop = moved[at][1]; }
      });
      arrange(fresh);
    }
  }

  // Tooltips and zoom of curves. Places are turned back into values by what the picture says of its axes.
  function curves(svg) {
    const data = svg.dataset;
    const value = (axis, place) => {
      const share = (place - data[axis + 'p0']) / (data[axis + 'p1'] - data[axis + 'p0']);
      const linear = +data[axis + '0'] + share * (data[axis + '1'] - data[axis + '0']);
      return axis + 'log' in data ? 10 ** linear : linear;
    };
    const paths = [...svg.querySelectorAll('path.curve')].filter((path) => !path.classList.contains('faint'));
    const lines = paths.map((path) => ({
      name: path.dataset.name || '',
      points: [...path.getAttribute('d').matchAll(/[ML]([-\d.]+) ([-\d.]+)/g)].map((found) => [+found[1], +found[2]]),
    }));
    const frame = svg.closest('figure') || svg.parentNode;
    const make = (name) => svg.appendChild(document.createElementNS('http://www.w3.org/2000/svg', name));
    let tip = null, cross = null, picked = null, from = null;
    const here = (event) => {
      const box = svg.getBoundingClientRect();
      const view = svg.viewBox.baseVal;
      const scale = Math.min(box.width / view.width, box.height / view.height);
      return (event.clientX - box.left - (box.width - view.width * scale) / 2) / scale;
    };
    const short = (number) => {
      const size = Math.abs(number);
      return size !== 0 && (size < 1e-4 || size >= 1e9) ? number.toExponential(3) : String(+number.toPrecision(6));
    };
    const inside = (place) => Math.min(Math.max(place, +data.xp0), +data.xp1);
    const clear = () => { for (const one of [tip, cross, picked]) if (one) one.remove(); tip = cross = picked = null; };
    svg.addEventListener('pointermove', (event) => {
      const place = inside(here(event));
      if (from !== null) {
        picked = picked || make('rect');
        picked.setAttribute('class', 'picked');
        picked.setAttribute('x', Math.min(from, place));
        picked.setAttribute('width', Math.abs(place - from));
        picked.setAttribute('y', +data.yp1);
        picked.setAttribute('height', data.yp0 - data.yp1);
      }
      const near = lines.map(({ name, points }) => {
        const best = points.reduce((a, b) => (a && Math.abs(a[0] - place) <= Math.abs(b[0] - place) ? a : b), null);
        return best && { name, point: best };
      }).filter(Boolean).slice(0, 12);
      if (!near.length) return;
      const at = near.reduce((a, b) => (Math.abs(a.point[0] - place) <= Math.abs(b.point[0] - place) ? a : b)).point[0];
      tip = tip || frame.appendChild(Object.assign(document.createElement('div'), { className: 'tip' }));
      tip.textContent = [short(value('x', at)), ...near.map(({ name, point }) => `${short(value('y', point[1]))}  ${name}`)].join('\n');
      cross = cross || make('line');
      for (const [key, what] of [['class', 'cross'], ['x1', at], ['x2', at], ['y1', data.yp0], ['y2', data.yp1]]) cross.setAttribute(key, what);
      const box = frame.getBoundingClientRect();
      const left = event.clientX - box.left, room = box.width - tip.offsetWidth;
      // Set by script, which the policy for style sheets allows.
      tip.style.left = `${Math.max(0, Math.min(left + 14, room - 4))}px`;
      tip.style.top = `${event.clientY - box.top + 16}px`;
    });
    svg.addEventListener('pointerleave', () => { if (from === null) clear(); });
    if (!data.zoom) return;
    svg.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || event.pointerType === 'touch') return;
      from = inside(here(event));
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    svg.addEventListener('pointerup', (event) => {
      if (from === null) return;
      const to = inside(here(event)), range = [Math.min(from, to), Math.max(from, to)];
      from = null;
      clear();
      if (range[1] - range[0] < 8) return;
      const address = new URL(location.href);
      address.searchParams.set(data.zoom, range.map((place) => Math.round(value('x', place))).join('..'));
      location.assign(address);
    });
    svg.addEventListener('dblclick', () => {
      const address = new URL(location.href);
      if (address.searchParams.has(data.zoom)) { address.searchParams.delete(data.zoom); location.assign(address); }
    });
  }
})();
