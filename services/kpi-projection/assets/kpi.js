"use strict";
(() => {
  const KEY = "hearthline-token";
  const DAY_MS = 86400000;
  const at = (id) => document.getElementById(id);
  const signIn = at("sign-in");
  const choose = at("choose");
  const status = at("status");
  const figures = at("figures");
  let asked = 0;

  // A token in the address would stay in the history and in what people copy.
  const takeToken = () => {
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (!given) return;
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  };

  const day = (date) => date.toISOString().slice(0, 10);
  const moved = (text, days) => day(new Date(Date.parse(text + "T00:00:00Z") + days * DAY_MS));
  const monday = (text) => moved(text, -((new Date(text + "T00:00:00Z").getUTCDay() + 6) % 7));
  const weeks = () => Number(at("weeks").value);

  const query = () => {
    const from = monday(at("from").value);
    return "?" + new URLSearchParams({ from, to: moved(from, 7 * weeks()) });
  };

  const show = (signedIn) => {
    signIn.hidden = signedIn;
    choose.hidden = !signedIn;
    if (!signedIn) {
      figures.replaceChildren();
      at("token").focus();
    }
  };

  const signOut = (why) => {
    sessionStorage.removeItem(KEY);
    asked += 1;
    show(false);
    status.textContent = why;
  };

  const fetched = async (path) => {
    const answer = await fetch(path, {
      headers: { Authorization: "Bearer " + sessionStorage.getItem(KEY) },
      cache: "no-store",
    });
    if (answer.ok) return answer;
    const problem = await answer.json().catch(() => ({}));
    const why = [problem.title || "The figures cannot be shown", problem.detail].filter(Boolean).join(": ");
    if (answer.status === 401 || answer.status === 403) signOut(why);
    throw new Error(why);
  };

  const load = async () => {
    const mine = (asked += 1);
    status.textContent = "Fetching figures…";
    try {
      const text = await (await fetched("/kpi/table" + query())).text();
      if (mine !== asked) return;
      // The server escapes everything it puts in, and the policy of this page runs no inline script.
      const parsed = new DOMParser().parseFromString(text, "text/html");
      figures.replaceChildren(...parsed.body.childNodes);
      status.textContent = "Figures for " + weeks() + (weeks() === 1 ? " week" : " weeks") + " from " + monday(at("from").value) + ".";
    } catch (error) {
      if (mine === asked || signIn.hidden === false) status.textContent = error.message;
    }
  };

  const download = async (path, name) => {
    try {
      const url = URL.createObjectURL(await (await fetched(path + query())).blob());
      const link = document.createElement("a");
      link.href = url;
      link.download = name;
      link.click();
      URL.revokeObjectURL(url);
    } catch (error) {
      status.textContent = error.message;
    }
  };

  const step = (direction) => {
    if (!at("from").value) return;
    at("from").value = moved(monday(at("from").value), 7 * direction * weeks());
    load();
  };

  signIn.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, at("token").value.trim());
    at("token").value = "";
    show(true);
    load();
  });
  choose.addEventListener("submit", (event) => {
    event.preventDefault();
    load();
  });
  at("earlier").addEventListener("click", () => step(-1));
  at("later").addEventListener("click", () => step(1));
  at("csv").addEventListener("click", () => download("/kpi.csv", "hearthline-figures.csv"));
  at("json").addEventListener("click", () => download("/kpi", "hearthline-figures.json"));
  at("forget").addEventListener("click", () => signOut("Signed out."));

  const start = () => {
    takeToken();
    const signedIn = sessionStorage.getItem(KEY) !== null;
    show(signedIn);
    if (signedIn) load();
  };
  // The week before this one is the last that is complete; a link may name another (`?from=2026-06-01&weeks=4`).
  const linked = new URLSearchParams(location.search);
  at("from").value = moved(monday(day(new Date())), -7);
  if (/^\d{4}-\d\d-\d\d$/.test(linked.get("from") || "")) at("from").value = linked.get("from");
  if (["1", "4", "12", "26", "52"].includes(linked.get("weeks"))) at("weeks").value = linked.get("weeks");
  window.addEventListener("hashchange", start);
  start();
})();
