(() => {
  "use strict";
  // arrow keys go from cell to cell; all cells but those that are not done are left out of the Tab key's way
  for (const frame of document.querySelectorAll("[data-cells]")) {
    frame.addEventListener("keydown", (event) => {
      const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] || [0, 0];
      const cell = event.target.closest("td");
      if ((!down && !right) || !cell) return;
      const rows = [...frame.querySelectorAll("tbody tr")].filter((row) => row.querySelector("td"));
      const row = rows[rows.indexOf(cell.parentElement) + down];
      const next = row && row.cells[cell.cellIndex + right]?.querySelector("a");
      if (next) {
        event.preventDefault();
        next.focus();
      }
    });
  }

  // an asset under the pointer or in focus shows all that it is made from and all that is made from it
  for (const drawing of document.querySelectorAll(".rw-lineage")) {
    const nodes = new Map([...drawing.querySelectorAll("[data-node]")].map((node) => [node.dataset.node, node]));
    const edges = [...drawing.querySelectorAll("[data-from]")];
    const follow = (start, here, there, lit) => {
      const seen = new Set([start]);
      for (const name of seen) {
        for (const edge of edges) {
          if (edge.dataset[here] === name) {
            lit.add(edge).add(nodes.get(edge.dataset[there]));
            seen.add(edge.dataset[there]);
          }
        }
      }
    };
    const light = (node) => {
      const lit = new Set([node]);
      follow(node.dataset.node, "from", "to", lit);
      follow(node.dataset.node, "to", "from", lit);
      drawing.classList.add("rw-lit");
      for (const one of [...nodes.values(), ...edges]) one.classList.toggle("rw-on", lit.has(one));
    };
    const dim = () => {
      drawing.classList.remove("rw-lit");
      for (const one of [...nodes.values(), ...edges]) one.classList.remove("rw-on");
    };
    for (const node of nodes.values()) {
      node.addEventListener("pointerenter", () => light(node));
      node.addEventListener("pointerleave", dim);
      node.addEventListener("focus", () => light(node));
      node.addEventListener("blur", dim);
    }
  }
})();
