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

/* Choosing in a list: all of the page at once, and the number of the chosen in the buttons. */
(() => {
  const list = document.querySelector("form.sk-list");
  if (!list) return;

  const boxes = () => [...list.querySelectorAll('[name="_selected_action"]')];

  const count = () => {
    const across = list.querySelector('[name="select_across"]');
    const chosen = boxes().filter((box) => box.checked).length;
    const said = across?.checked ? across.dataset.count : chosen.toLocaleString(document.documentElement.lang);
    const isChosen = across?.checked || chosen > 0;
    for (const place of list.querySelectorAll("[data-chosen]")) {
      place.textContent = isChosen && said ? ` (${said})` : "";
    }
  };

  list.addEventListener("change", (event) => {
    if (event.target.matches("[data-toggle]")) {
      for (const box of boxes()) box.checked = event.target.checked;
    }
    count();
  });
  window.addEventListener("pageshow", count);
})();

/* A long act goes on by itself; without this, by its button. */
(() => {
  const form = document.querySelector("form[data-continue]");
  if (form) form.requestSubmit(form.querySelector('[name="action"]'));
})();
