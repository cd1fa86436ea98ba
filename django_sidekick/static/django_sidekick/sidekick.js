/* Makes the live pages live, and quick to the keyboard. They are whole without it. */
"use strict";

(() => {
  const page = document.querySelector("[data-live]");
  const news = document.getElementById("sk-news");
  const stale = document.getElementById("sk-stale");
  const EVERY_MS = 5000;
  const PATIENCE_MS = 10000; // a server that takes a poll and says nothing is away too
  const MOST_MISSED = 1; // in a row, before the page says so: a server that restarts is back by then
  const TOLD = ["failed", "retries", "dead"]; // what a screen reader hears of: the rest changes all the time
  const TELL_EVERY_MS = 60000; // where jobs fail all the time it would be talked to at every poll

  const language = document.documentElement.lang || undefined;

  const say = (text) => {
    if (news) news.textContent = text;
  };

  /* Polling: one small JSON every few seconds, none in a hidden tab. */

  let timer = 0;
  let missed = 0;

  /* Returns nothing while the server is away, or sends one to its login: what is shown stays, and the next poll comes. */
  const ask = async () => {
    const url = new URL(window.location);
    url.searchParams.set("live", "1");
    const signal = AbortSignal.timeout(PATIENCE_MS);
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" }, redirect: "manual", signal });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  };

  const poll = async () => {
    const fresh = await ask();
    missed = fresh ? 0 : missed + 1;
    stale.hidden = missed <= MOST_MISSED;
    if (fresh) paint(fresh);
    wait();
  };

  const wait = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(poll, EVERY_MS);
  };

  const paint = ({ shown, parts, away }) => {
    paintNumbers(shown);
    for (const [id, html] of Object.entries(parts)) {
      const part = document.getElementById(id);
      const isUnknown = away && !html.trim(); /* what was shown stays, with its marks: it comes back */
      if (part && !isUnknown && !isBeingSelected(part)) repaint(part, html);
    }
    const note = document.getElementById("sk-away");
    if (note.textContent !== away) note.textContent = away;
    note.hidden = !away;
    count();
  };

  const untold = new Map();
  let toldAt = -Infinity;

  const paintNumbers = (shown) => {
    for (const [key, text] of Object.entries(shown)) {
      const cell = document.querySelector(`[data-number="${key}"]`);
      if (!cell || cell.textContent === text) continue;
      cell.textContent = text;
      if (TOLD.includes(key)) untold.set(key, `${cell.previousElementSibling.textContent}: ${text}`);
    }
    if (!untold.size || performance.now() - toldAt < TELL_EVERY_MS) return;
    say([...untold.values()].join(", "));
    untold.clear();
    toldAt = performance.now();
  };

  const isBeingSelected = (part) => {
    const selection = window.getSelection();
    return !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  const repaint = (part, html) => {
    const fresh = part.cloneNode(false);
    fresh.innerHTML = html;
    const focused = document.activeElement;
    const at = rows().indexOf(rowOf(focused));
    morph(part, fresh);
    if (!focused.isConnected) gone = at;
    if (focused !== document.activeElement && part.contains(focused)) focused.focus({ preventScroll: true });
  };

  /* Changes what differs and keeps the rest: focus, marks, what is folded open. Rows are known by data-key. */
  const morph = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    copyAttributes(old, fresh);
    const isKeyed = [...old.children, ...fresh.children].some((child) => child.dataset.key);
    const nodesOf = (parent) => [...(isKeyed ? parent.children : parent.childNodes)];
    const wanted = new Set(nodesOf(fresh).map((child) => child.dataset?.key));
    const left = nodesOf(old).filter((child) => {
      const stays = !child.dataset?.key || wanted.has(child.dataset.key);
      if (!stays) child.remove();
      return stays;
    });
    for (const want of nodesOf(fresh)) {
      const at = left.findIndex((have) => isSame(have, want));
      const have = at === 0 || want.dataset?.key ? left[at] : undefined;
      if (have) {
        if (at > 0) old.insertBefore(have, left[0]);
        left.splice(at, 1);
        if (have.nodeType === Node.ELEMENT_NODE) morph(have, want);
        else if (have.data !== want.data) have.data = want.data;
      } else {
        old.insertBefore(want, left[0] ?? null);
      }
    }
    for (const have of left) have.remove();
  };

  const isSame = (have, want) =>
    have.nodeName === want.nodeName && have.dataset?.key === want.dataset?.key;

  const copyAttributes = (old, fresh) => {
    for (const { name, value } of [...fresh.attributes])
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name) && name !== "open" && name !== "tabindex") old.removeAttribute(name);
  };

  if (page) {
    wait();
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : poll()));
  }

  /* Marks: how many stand in the buttons, all of a page at once, and with shift from one to another. */

  const boxes = () => [...document.querySelectorAll(":is(.sk-list, #changelist-form) input.action-select")];

  /* On the list of the history the admin's own script counts, and hears of a change. */
  const isAdmins = (box) => Boolean(box.closest("#changelist-form"));

  const count = () => {
    const all = boxes();
    const marked = all.filter((box) => box.checked).length;
    const across = document.querySelector('.sk-list [name="select_across"]:checked');
    const said = across ? across.dataset.count : marked && marked.toLocaleString(language);
    for (const place of document.querySelectorAll(".sk-list [data-chosen]")) {
      const text = said ? ` (${said})` : "";
      if (place.textContent !== text) place.textContent = text;
    }
    for (const toggle of document.querySelectorAll("[data-toggle]")) {
      toggle.checked = all.length > 0 && marked === all.length;
      toggle.indeterminate = marked > 0 && marked < all.length;
    }
  };

  let last = null;

  document.addEventListener("click", ({ target, shiftKey }) => {
    if (!(target instanceof HTMLInputElement)) return;
    if (target.matches("[data-toggle]")) for (const box of boxes()) box.checked = target.checked;
    if (target.matches(".action-select") && !isAdmins(target)) {
      const all = boxes();
      const [from, to] = [all.indexOf(last), all.indexOf(target)].sort((a, b) => a - b);
      if (shiftKey && from >= 0) for (const box of all.slice(from, to)) box.checked = target.checked;
      last = target;
    }
    count();
  });
  window.addEventListener("pageshow", count); // a browser restores marks when one comes back

  /* Keys: `/` finds, j and k move between rows, x marks, r retries what is marked or stood on, Enter opens. */

  const rowOf = (element) => element?.closest?.(".sk-row");
  const rows = () => [...document.querySelectorAll(".sk-row")];

  /* Where the row stood that one was on and that a poll has taken away. No other is stood on then: `r` would retry it. */
  let gone = -1;

  const move = (step) => {
    const all = rows();
    const at = all.indexOf(rowOf(document.activeElement));
    const [above, below] = gone < 0 ? [-1, all.length] : [gone - 1, Math.min(gone, all.length)];
    const row = all[(at < 0 ? (step > 0 ? above : below) : at) + step];
    if (!row) return;
    gone = -1;
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };

  const mark = (row, isMarked) => {
    const box = row?.querySelector("input.action-select");
    if (!box) return;
    box.checked = isMarked ?? !box.checked;
    if (isAdmins(box)) box.dispatchEvent(new Event("change", { bubbles: true }));
    else count();
    if (news) say(box.checked ? news.dataset.marked : news.dataset.unmarked);
  };

  const retryButton = () => {
    const choice = document.querySelector('#changelist-form select[name=action] option[value="retry_now"]');
    if (!choice) return document.querySelector('.sk-page button[data-action="retry_now"]');
    choice.selected = true;
    return document.querySelector("#changelist-form button[name=index]");
  };

  const retry = (row) => {
    const button = retryButton();
    if (!button) return;
    if (!boxes().some((box) => box.checked)) mark(row, true);
    if (!boxes().length || boxes().some((box) => box.checked)) button.click();
  };

  const KEYS = {
    "/": () => document.querySelector('[data-key="/"]')?.focus(),
    j: () => move(1),
    k: () => move(-1),
    x: () => mark(rowOf(document.activeElement)),
    r: () => retry(rowOf(document.activeElement)),
  };

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isTyping = target.matches("input:not([type=checkbox]), textarea, select, [contenteditable]");
    if (isTyping) {
      if (key === "Escape") target.blur();
    } else if (Object.hasOwn(KEYS, key)) {
      event.preventDefault();
      KEYS[key]();
    } else if (key === "Enter" && target.matches(".sk-row")) {
      (target.querySelector("a.sk-jid") ?? target.querySelector("th a"))?.click();
    }
  });

  /* A second press on a button is no second act, however slow the server is: it would run a job again twice.
     Not for ever: what a project's own action answers may be a download. */

  let sentAt = -Infinity;

  document.addEventListener("submit", (event) => {
    const { target, submitter, timeStamp } = event;
    const method = submitter?.formMethod || target.method;
    if (event.defaultPrevented || method !== "post" || !target.closest("#content")) return;
    if (timeStamp - sentAt < PATIENCE_MS) event.preventDefault();
    else sentAt = timeStamp;
  });
  window.addEventListener("pageshow", () => (sentAt = -Infinity));

  /* What is done in turns goes on by itself. */

  const going = document.querySelector("form[data-continue]");
  if (going) going.requestSubmit(going.querySelector("button[name=action]"));
})();
