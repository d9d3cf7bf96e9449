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
    for (const child of main().children) remember(child);
    arrange(document);
    follow();
  });

  // Everything that a part needs after it came: once for the page, again for each part that was replaced.
  function arrange(within) {
    for (const svg of within.querySelectorAll('svg[data-chart="line"]')) curves(svg);
    for (const place of within.querySelectorAll('[data-later]')) expect(place.closest('figure'), place.dataset.later);
    for (const log of within.querySelectorAll('.log[data-growing] .lines')) log.scrollTop = log.scrollHeight;
  }

  const get = async (address) => {
    const answer = await fetch(address, { headers: { accept: 'text/html' }, credentials: 'same-origin' });
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), 'text/html');
  };

  // Figures that are fetched by themselves, with where: when they come into view, and again when the page was.
  const addresses = new WeakMap();
  const later = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      later.unobserve(target);
      const address = addresses.get(target);
      get(address).then((page) => {
        const found = page && target.isConnected && page.getElementById(target.id);
        if (!found) return;
        addresses.set(found, address);
        change(target, found);
      }, () => {});
    }
  }, { rootMargin: '300px' });
  const expect = (figure, address) => { addresses.set(figure, address); later.observe(figure); };

  // Live: the log of events says that something happened; the parts of the page that are different are replaced.
  function follow() {
    const kinds = (document.body.dataset.live || '').split(' ').filter(Boolean);
    const told = document.getElementById('live');
    const grows = (body) => 'growing' in body.dataset;
    let source = null, waiting = null, since = null, busy = false, again = false, clock = null;
    const refresh = async () => {
      clearTimeout(waiting);
      since = null;
      if (busy) { again = true; return; }
      busy = true;
      try {
        // Where nothing comes back, the next event tries again.
        const page = await get(location.href).catch(() => null);
        if (page) { exchange(page); poll(grows(page.body)); }
      } finally {
        busy = false;
        if (again) { again = false; soon(); }
      }
    };
    // Events that follow each other closely are one refresh, but a log that never rests does not put it off for more than a second.
    const soon = () => {
      const now = performance.now();
      since = since ?? now;
      clearTimeout(waiting);
      waiting = setTimeout(refresh, Math.max(0, Math.min(350, since + 1000 - now)));
    };
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
    const poll = (grows) => {
      if (grows && !clock) clock = setInterval(() => { if (!document.hidden) refresh(); }, 2000);
      if (!grows && clock) { clearInterval(clock); clock = null; }
    };
    document.addEventListener('visibilitychange', () => {
      if (document.hidden) { close(); } else { open(); refresh(); }
    });
    addEventListener('pagehide', close);
    open();
    poll(grows(document.body));
  }

  // A page is a tree down to its smallest parts. What holds parts stays, and its children are compared; a child that holds none
  // is exchanged as a whole.
  const main = () => document.getElementById('main');
  const holds = (element) => Boolean(element.querySelector('[data-part][id]'));
  // Children as they came, before anything was arranged in them: what comes again the same is not exchanged.
  const came = new WeakMap();
  function remember(element) {
    if (holds(element)) for (const child of element.children) remember(child);
    else came.set(element, element.outerHTML);
  }

  function exchange(page) {
    const fresh = page.getElementById('main');
    if (fresh) children(main(), fresh);
  }

  // What is new is put in, what is gone is taken away, the rest is compared.
  function children(old, fresh) {
    const kin = (one) => (one.id ? `#${one.id}` : [one.tagName, one.className, one.getAttribute('action')].join(' '));
    const known = named(old.children, kin);
    const pairs = [...named(fresh.children, kin)].map(([key, one]) => {
      const found = known.get(key);
      known.delete(key);
      return [found, one];
    });
    for (const gone of known.values()) gone.remove();
    let place = old.firstElementChild;
    for (const [found, one] of pairs) {
      if (!found) {
        remember(one);
        old.insertBefore(one, place);
        arrange(one);
        continue;
      }
      if (found === place) place = place.nextElementSibling;
      else old.insertBefore(found, place);
      compare(found, one);
    }
  }

  function compare(old, fresh) {
    const place = fresh.querySelector('[data-later]');
    if (holds(old) && holds(fresh)) children(old, fresh);
    // A curve that is there already stays until it is fetched again.
    else if (place && addresses.has(old)) expect(old, place.dataset.later);
    else change(old, fresh);
  }

  // Nothing is taken from under the hands of whoever types, chooses, marks text or drags over a curve.
  function held(part) {
    const at = document.activeElement;
    const field = 'input:not([type=checkbox], [type=radio]), textarea';
    if (at && part.contains(at) && at.matches(`${field}, select`)) return true;
    if (all(part, field).some((one) => one.value !== one.defaultValue)) return true;
    const first = (one) => Math.max(0, [...one.options].findIndex((option) => option.defaultSelected));
    if (all(part, 'select').some((one) => one.options.length && one.selectedIndex !== first(one))) return true;
    if (part.querySelector('.picked')) return true;
    const marked = getSelection();
    return Boolean(marked && !marked.isCollapsed && marked.containsNode(part, true));
  }

  const all = (within, selector) => [...(within.matches(selector) ? [within] : []), ...within.querySelectorAll(selector)];
  // Elements by what they are called; of those that are called the same each has a name of its own.
  function named(elements, name) {
    const found = new Map();
    for (const one of elements) {
      let key = name(one);
      while (found.has(key)) key += '+';
      found.set(key, one);
    }
    return found;
  }

  // Puts a fresh part in the place of an old one. What is unfolded, ticked and scrolled stays so, and the focus stays.
  function change(old, fresh) {
    const text = fresh.outerHTML;
    if (came.get(old) === text || old.outerHTML === text || held(old)) return;
    remember(fresh);
    const both = (selector, name, carry) => {
      const before = named(all(old, selector), name);
      for (const [key, one] of named(all(fresh, selector), name)) if (before.has(key)) carry(before.get(key), one);
    };
    both('details', (one) => one.querySelector('summary')?.textContent ?? '', (was, one) => { one.open = was.open; });
    both('input[type=checkbox], input[type=radio]', (one) => `${one.name} ${one.value}`, (was, one) => { one.checked = was.checked; });
    const said = (one, key) => one.getAttribute(key) ?? '';
    const words = (one) => [one.tagName, said(one, 'href'), said(one, 'aria-label'), one.name, one.value,
      one.matches('summary, button') ? one.textContent : ''].join(' ');
    let focus = null;
    const at = document.activeElement;
    if (old.contains(at)) both('a[href], button, input, summary, [tabindex]', words, (was, one) => { if (was === at) focus = one; });
    const moves = [];
    both('.scroll, .lines, .picture, .river, pre.code', (one) => `${one.className} ${said(one, 'aria-label')}`,
      (was, one) => moves.push(scrolled(was, one)));
    old.replaceWith(fresh);
    arrange(fresh);
    for (const move of moves) move();
    if (focus) focus.focus({ preventScroll: true });
  }

  // Brings a box to where another one is scrolled. A log that grows is followed by those who are at its end; others stay at their line,
  // also where lines before it are left out now.
  function scrolled(was, one) {
    const { scrollLeft, scrollTop, scrollHeight, clientHeight } = was;
    const ends = was.closest('[data-growing]') && scrollHeight - scrollTop - clientHeight < 8;
    const first = (box) => box.querySelector('ol')?.start ?? 1;
    const lines = was.matches('.lines') ? was.querySelectorAll('li') : [];
    const top = lines[first(one) - first(was)];
    const gone = top ? top.offsetTop - lines[0].offsetTop : 0;
    return () => {
      one.scrollLeft = scrollLeft;
      one.scrollTop = ends ? one.scrollHeight : scrollTop - gone;
    };
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
