(() => {
  "use strict";
  const main = document.getElementById("main");
  const fault = document.getElementById("fault");
  const shown = new Map();
  let since = null;

  async function show(state) {
    document.getElementById("day").textContent = state.day;
    document.getElementById("facts").replaceChildren(...state.facts.map((fact) => {
      const span = document.createElement("span");
      span.textContent = fact;
      return span;
    }));
    for (const section of state.sections) {
      const before = document.getElementById(section.name);
      if (before && shown.get(section.name) === section.html) continue;
      const element = document.createElement("section");
      element.className = before ? "rw-section rw-live" : "rw-section";
      element.id = section.name;
      const title = document.createElement("h2");
      title.textContent = section.title;
      // the server escapes all data in it; charts come as specifications, which are no scripts to a browser
      const body = document.createElement("div");
      body.innerHTML = section.html;
      element.append(title, body);
      // drawn where it will stand, but behind what stands there, so that nothing jumps
      element.style.cssText = before ? "position:absolute;visibility:hidden;" : "";
      if (before) element.style.width = `${before.getBoundingClientRect().width}px`;
      main.append(element);
      await window.rainbowDraw(element);
      if (before) {
        before.replaceWith(element);
        element.removeAttribute("style");
      }
      shown.set(section.name, section.html);
    }
  }

  async function refresh() {
    try {
      const answer = await fetch(main.dataset.state, { cache: "no-cache", signal: AbortSignal.timeout(20000) });
      if (!answer.ok) {
        const problem = await answer.json().catch(() => ({}));
        throw new Error(problem.detail || `the server answers ${answer.status}`);
      }
      await show(await answer.json());
      since = new Date();
      fault.hidden = true;
      document.documentElement.dataset.live = String(Number(document.documentElement.dataset.live || 0) + 1);
    } catch (error) {
      const at = since ? `The figures are as of ${since.toLocaleTimeString()}. ` : "";
      fault.querySelector("p").textContent = `${at}Asking again: ${error.message}`;
      fault.hidden = false;
    }
  }

  async function keepAsking() {
    for (;;) {
      if (document.visibilityState === "visible") await refresh();
      await new Promise((go) => setTimeout(go, Number(main.dataset.milliseconds)));
    }
  }
  keepAsking();
})();
