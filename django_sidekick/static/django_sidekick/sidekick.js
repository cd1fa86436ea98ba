/* Keeps a live page live: one small JSON every few seconds, none in a hidden tab. The pages are whole without it. */
"use strict";

(() => {
  const page = document.querySelector("[data-live]");
  if (!page) return;
  const EVERY_MS = 5000;

  const paint = (news) => {
    for (const [key, figure] of Object.entries(news.numbers)) {
      const cell = document.querySelector(`[data-number="${key}"]`);
      if (cell) cell.textContent = figure.toLocaleString(document.documentElement.lang);
    }
    for (const [id, html] of Object.entries(news.parts)) {
      const part = document.getElementById(id);
      if (part && !isInUse(part)) part.innerHTML = html;
    }
    const away = document.getElementById("sk-away");
    away.textContent = news.away;
    away.hidden = !news.away;
  };

  const isInUse = (part) =>
    part.contains(document.activeElement) || part.querySelector("input:checked, details[open]");

  const poll = async () => {
    if (document.hidden) return;
    const url = new URL(window.location);
    url.searchParams.set("live", "1");
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      if (answer.ok) paint(await answer.json());
    } catch {
      /* The server is away: what is shown stays, and the next poll comes. */
    }
  };

  setInterval(poll, EVERY_MS);
  document.addEventListener("visibilitychange", poll);
})();
