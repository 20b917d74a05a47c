"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  // Dark or light: the system's, until the button says otherwise.
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const tell = () => { button.setAttribute("aria-pressed", String(isDark())); };
  button.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; tell(); });
  system.addEventListener("change", tell);
  button.hidden = false;
  tell();

  // What is printed is seen whole, but for tables of thousands of rows.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open]):not([data-long])")];
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));

  const config = {
    displaylogo: false, responsive: true, showTips: false,
    // these and no others: some send or share what is seen
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
  };

  // Arrow keys go from point to point and from line to line; Tab goes on to what comes next on the page.
  function byKeyboard(box, say) {
    let trace = 0, point = -1, waiting = 0;
    const size = (number) => (box.data[number] && box.data[number].x ? box.data[number].x.length : 0);
    box.addEventListener("keydown", (event) => {
      if (event.target !== box || event.altKey || event.ctrlKey || event.metaKey || !box.data || !box.data.length) return;
      const traces = box.data.length;
      trace = Math.min(trace, traces - 1);
      if (event.key === "ArrowRight") point += 1;
      else if (event.key === "ArrowLeft") point = Math.max(0, point - 1);
      else if (event.key === "ArrowDown") { trace = (trace + 1) % traces; point = 0; }
      else if (event.key === "ArrowUp") { trace = (trace + traces - 1) % traces; point = 0; }
      else if (event.key === "Home") point = 0;
      else if (event.key === "End") point = size(trace) - 1;
      else if (event.key === "Enter" && point < 0) point = 0;
      else if (event.key === "Escape") { point = -1; clearTimeout(waiting); Plotly.Fx.unhover(box); say.textContent = ""; return; } else return;
      event.preventDefault();
      if (point >= size(trace)) { trace = (trace + 1) % traces; point = 0; }
      for (let tried = 0; !size(trace) && tried < traces; tried += 1) trace = (trace + 1) % traces;
      if (size(trace)) {
        Plotly.Fx.hover(box, [{ curveNumber: trace, pointNumber: point }]);
        // a label that follows another at once is drawn 50 ms later
        clearTimeout(waiting);
        waiting = setTimeout(tell, 100);
      }
    });
    const tell = () => {
      const label = box.querySelector(".hoverlayer .hovertext");
      const lines = label ? [...label.querySelectorAll("text.nums tspan.line, text.name")].map((one) => one.textContent) : [];
      say.textContent = lines.length ? lines.join(", ") : (label ? label.textContent : "");
    };
    // of the pointer; what is asked for by a script tells nobody
    box.on("plotly_hover", tell);
  }

  // Plotly forgets its height when the window's size changes, and asks the place that it is drawn in.
  function place(id, layout) {
    const box = document.getElementById(`plot-${id}`);
    box.style.height = `${layout.height}px`;
    return box;
  }

  function draw(id, figure) {
    const box = place(id, figure.layout);
    return Plotly.newPlot(box, figure.data, figure.layout, config).then(() => byKeyboard(box, document.getElementById(`said-${id}`)));
  }

  // Of a number or a time that has no place on a scale.
  const NOTHING = "NULL or not finite";

  // The map: rows as points, in colours by what is chosen.
  function traces(map, chosen) {
    const label = (row) => map.hover[row];
    const of = (rows, more) => ({
      type: "scatter", mode: "markers", x: rows.map((row) => map.x[row]), y: rows.map((row) => map.y[row]),
      text: rows.map(label), ids: rows.map(String), hovertemplate: "%{text}<extra></extra>", ...more,
    });
    const size = map.x.length > 1000 ? 6 : map.x.length > 200 ? 8 : 11;
    if (chosen.kind === "number") {
      const known = [], unknown = [];
      chosen.values.forEach((value, row) => (value === null ? unknown : known).push(row));
      const made = [];
      if (unknown.length) made.push(of(unknown, {
        name: `${NOTHING} (${unknown.length})`, hovertemplate: `%{text}<br>${chosen.label}: ${NOTHING}<extra></extra>`,
        marker: { color: "#8a8f98", size, symbol: "x-thin-open" },
      }));
      made.push(of(known, {
        name: chosen.label, showlegend: unknown.length > 0,
        customdata: known.map((row) => chosen.shown ? chosen.shown[row] : chosen.values[row]),
        hovertemplate: `%{text}<br>${chosen.label}: %{customdata}<extra></extra>`,
        marker: {
          color: known.map((row) => chosen.values[row]), size, colorscale: map.scale, showscale: known.length > 0,
          // below the points: beside them it would take half of a narrow page
          colorbar: {
            orientation: "h", x: 0.5, y: -0.02, yanchor: "top", thickness: 12, len: 0.7, outlinewidth: 0,
            title: { text: chosen.label, side: "top", font: { size: 13 } }, ...(chosen.ticks || {}),
          },
        },
      }));
      return made;
    }
    return chosen.groups.map((group) => of(group.rows, {
      name: `${group.label} (${group.rows.length})`,
      hovertemplate: `%{text}<br>${chosen.label}: ${group.label}<extra></extra>`,
      marker: { color: group.colour, symbol: group.sign, size },
    }));
  }

  function drawMap(map) {
    const box = place("map", map.layout);
    const select = document.getElementById("colour");
    const layout = () => {
      const chosen = map.colourings[Number(select.value)];
      const legend = chosen.kind === "number" ? { ...map.layout.legend, y: -0.2 } : map.layout.legend;
      return { ...map.layout, legend, annotations: chosen.notes || [], showlegend: chosen.kind === "category" || chosen.values.includes(null) };
    };
    const chosenTraces = () => traces(map, map.colourings[Number(select.value)]);
    select.addEventListener("change", () => Plotly.react(box, chosenTraces(), layout(), config));
    return Plotly.newPlot(box, chosenTraces(), layout(), config).then(() => byKeyboard(box, document.getElementById("said-map")));
  }

  async function start() {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent.trim()), (one) => one.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    const figures = read("figures");
    for (const [id, figure] of Object.entries(figures.plots)) await draw(id, figure);
    if (figures.map) await drawMap(figures.map);
    document.documentElement.dataset.ready = "yes";
  }
  if (document.getElementById("plotly")) {
    start().catch((error) => { document.documentElement.dataset.ready = "no"; console.error(error); });
  } else document.documentElement.dataset.ready = "yes";
})();
