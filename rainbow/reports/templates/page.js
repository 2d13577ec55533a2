(() => {
  "use strict";
  const root = document.documentElement;

  const button = document.querySelector("[data-theme-switch]");
  const remembered = () => { try { return localStorage.getItem("rainbow-theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  if (remembered()) root.dataset.theme = remembered();
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("rainbow-theme", root.dataset.theme); } catch { /* a page from a file may not remember */ }
    });
  }

  const configuration = document.getElementById("chart-config");
  if (!configuration) {
    root.dataset.charts = "done";
    return;
  }
  const options = {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true,
    config: JSON.parse(configuration.textContent), tooltip: { theme: "custom" },
  };
  const chosen = "span_utcyearmonthdate_date";
  // days that are chosen in one chart are chosen in the others that show days
  function link(views) {
    const linked = views.filter((view) => { try { view.signal(chosen); return true; } catch { return false; } });
    let busy = false;
    for (const view of linked) {
      view.addSignalListener(chosen, async (name, days) => {
        if (busy) return;
        busy = true;
        for (const other of linked.filter((one) => one !== view)) {
          await other.signal("span_x", days ? days.map(other.scale("x")) : [0, 0]).runAsync();
        }
        busy = false;
      });
    }
  }
  async function draw(within) {
    const views = [];
    for (const figure of within.querySelectorAll("figure[data-chart]")) {
      const canvas = figure.querySelector(".rw-canvas");
      try {
        views.push((await vegaEmbed(canvas, JSON.parse(figure.querySelector("script").textContent), options)).view);
        // the canvas has the words for it; the single marks would only be noise
        canvas.querySelector("svg").setAttribute("aria-hidden", "true");
        figure.dataset.drawn = "yes";
      } catch (error) {
        figure.dataset.drawn = "no";
        canvas.textContent = `This chart could not be drawn: ${error.message}`;
        console.error(error);
      }
    }
    link(views);
  }
  window.rainbowDraw = draw;
  draw(document).then(() => { root.dataset.charts = "done"; });
})();
